#!/bin/sh
# Make the banks of common English: sh common_banks.sh FOLDER (in the environment of the text-to-speech tools).
set -eu
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1

bank() {
    python -m speech.bank --common "$1" "$2" --out "$folder/$(echo "$1" | tr ':+' '__').npz"
}

bank flite:slt 350
bank flite:rms 350
bank flite:awb 60
bank festival:ked_diphone 150
for variant in f1 f2 f4 f5 m1 m2 m3 m7 klatt4 edward2 steph belinda max zac; do
    bank "espeak:en-us+$variant" 50
done
bank hibari:heart 500
bank piper:joe 500

#!/bin/sh
# Make every bank of synthetic speech: sh banks.sh FOLDER (in the environment of the text-to-speech tools).
set -eu
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1

bank() {
    python -m speech.bank "$1" "$2" --out "$folder/$(echo "$1" | tr ':+' '__').npz"
}

bank flite:slt 600
bank flite:rms 600
bank flite:kal16 250
bank flite:awb 300
bank festival:ked_diphone 500
for variant in f1 f2 f4 f5 m1 m2 m3 m7 klatt klatt4 edward2 steph belinda max zac; do
    bank "espeak:en-us+$variant" 90
done
bank hibari:heart 900
bank piper:joe 900

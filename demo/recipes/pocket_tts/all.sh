#!/bin/sh
# Make the checkpoint in one run: sh pocket_tts/all.sh WORK (in demo/recipes, in the project's environment, with flite).
set -eu
work=$1
python -m pocket_tts.voices --out "$work/voices"
python -m pocket_tts.codec --voices "$work/voices" --out "$work/codec" --steps 3000
python -m pocket_tts.codec --voices "$work/voices" --start "$work/codec" --out "$work/codec_forgiving" --steps 1000 \
    --decoder-only --noise 0.3 --rate 4e-4 --seed 1
python -m pocket_tts.train --voices "$work/voices" --codec "$work/codec_forgiving" --out "$work/checkpoint" --steps 6000 \
    --disturbance 0.8
python -m pocket_tts.evaluate --checkpoint "$work/checkpoint" --voices "$work/voices" \
    --recogniser ../checkpoints/parakeet-tdt

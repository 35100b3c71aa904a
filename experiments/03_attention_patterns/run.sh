#!/bin/sh
# Trains linear and non-linear heads on every generated task; goes on where it stopped.
#
#   ./experiments/03_attention_patterns/run.sh RUNS [TASKS] [SEEDS] [ARGUMENT ...]
#
# TASKS is recall,induction,match2,match3,retrieval,brackets by default, SEEDS 0,1,2,3,4. Further
# arguments go to every ./scripts/sweep: --collect, --print or --config.KEY=VALUE,
# --config.train.num_steps=20 --config.train.checkpoint_every=10 for a trial of the command.
set -eu
runs=$1 tasks=${2:-recall,induction,match2,match3,retrieval,brackets} seeds=${3:-0,1,2,3,4}
shift
[ $# -eq 0 ] || shift
[ $# -eq 0 ] || shift
here=$(CDPATH='' cd -P -- "${0%/*}/../.." && pwd)
. "$here/experiments/sweep.sh"

# sweep TASK NAME STEPS AXES [ARGUMENT ...], AXES separated by blanks
sweep() {
  task=$1 name=$2 steps=$3 axes=$4
  shift 4
  # shellcheck disable=SC2086  # one word an axis
  sweep_on --config="$here/configs/synthetic.py:task=$task" --workdir="$runs/$task-$name" \
    --config.model.width=64 --config.model.mlp_width=128 \
    --config.optimizer.learning_rate=2e-3 --config.train.num_steps="$steps" --config.train.eval_every=$((steps / 20)) \
    --config.train.checkpoint_every=$((steps / 2)) --config.train.keep_checkpoints=1 --config.data.num_eval_examples=500 \
    "$@" "seed=$seeds" $axes
}

for task in $(printf '%s' "$tasks" | tr ',' ' '); do
  # What linear heads solve takes as long as they need, and half as long again.
  size=
  case $task in
    match2) steps=600 ;;
    brackets) steps=800 ;;
    induction) steps=1400 ;;
    retrieval) steps=1400 size=--config.data.pattern_length=4 ;;
    *) steps=2000 ;;
  esac
  sweep "$task" linear $steps model.heads=identity $size "$@"
  sweep "$task" nonlinear $steps "model.coupling=pooled,pairwise model.num_steps=1,2,4 \
    model.heads=quadratic,square,exponential,log_cosh,spline" $size "$@"
done

exit $failed

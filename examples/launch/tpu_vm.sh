#!/bin/sh
# A TPU VM pod slice: the same command on every host. NAME, ZONE, RUN (a shared folder) and DATA are
# yours; the code has been copied to ~/hopfield_attn on every host.
set -eu
gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker=all --command="
  cd hopfield_attn && python3 -m venv .venv && .venv/bin/pip install -q -e . 'jax[tpu]' &&
  .venv/bin/python scripts/train.py --coordinator=auto \
    --config=configs/mlm.py:size=base --config.data.source=$DATA --workdir=$RUN \
    --config.mesh.fsdp=8 --config.train.watchdog_seconds=900"

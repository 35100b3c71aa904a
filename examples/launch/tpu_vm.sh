#!/bin/sh
# A TPU VM pod slice: the same command on every host. NAME, ZONE, RUN (a shared folder) and DATA are
# yours; the code has been copied to ~/hopfield_attn on every host, which has Python 3.12 or later.
set -eu
gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker=all --command="
  cd hopfield_attn && PYTHON=python3.12 HOPFIELD_EXTRAS=tpu-compiler ./scripts/doctor &&
  .venv/bin/python scripts/train.py --coordinator=auto \
    --config=configs/mlm.py:size=base --config.data.source=$DATA --workdir=$RUN \
    --config.mesh.fsdp=8 --config.train.watchdog_seconds=900"

#!/usr/bin/env bash
# Installs mmkd-tf-edge in a fresh virtual environment and runs a released file there, without
# TensorFlow; prints what the install takes.
set -euo pipefail
cd "$(dirname "$0")/../.."

environment=$(mktemp -d)
trap 'rm -rf "$environment"' EXIT
python3 -m venv "$environment"
"$environment/bin/pip" install --quiet ./packages/edge

for package in tensorflow keras pandas pydantic; do
  if "$environment/bin/python" -c "import $package" 2> /dev/null; then
    echo "mmkd-tf-edge brings $package"
    exit 1
  fi
done
# From elsewhere, so that the checkout's package is not found.
released=$PWD/saved_models/emoji/student_small.tflite
cd "$environment"
bin/python -c "from mmkd_tf.edge import Classifier; print(Classifier('$released').predict(text='pizza'))"
bin/mmkd-tf predict "$released" --text pizza
said=$(bin/mmkd-tf run 2>&1) && exit 1
grep -q "pip install mmkd-tf" <<< "$said" || { echo "$said"; exit 1; }
bin/pip uninstall --quiet --yes pip setuptools
find lib -name __pycache__ -prune -exec rm -r {} +
echo "mmkd-tf-edge and what it needs: $(du -sm lib/python3*/site-packages | cut -f1) MiB"

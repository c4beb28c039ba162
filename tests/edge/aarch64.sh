#!/usr/bin/env bash
# Runs exported files on the processor family of phones, by emulation, and compares with this machine:
# the aarch64 build of ai-edge-litert under qemu-user, as an old, a usual and a new processor.
#
#     tests/edge/aarch64.sh                                 small models that it makes itself
#     tests/edge/aarch64.sh saved_models/emoji              every .tflite file of a run
#     tests/edge/aarch64.sh student.tflite other.tflite     these files
#
# Wants Debian 12 on x86-64 with its package sources, and `python3` with this project installed. It needs no
# rights and changes nothing on the machine: all it downloads goes to a temporary folder.
set -euo pipefail
shopt -s nullglob

project=$(cd "$(dirname "$0")/../.." && pwd)
check="$project/tests/edge/aarch64_check.py"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

quietly() { "$@" 2> "$work/log" || { cat "$work/log" >&2; exit 1; }; }

files=()
for given in "$@"; do
    if [ -d "$given" ]; then files+=("$given"/*.tflite); else files+=("$given"); fi
done
if [ $# -eq 0 ]; then
    mkdir "$work/models"
    quietly python3 "$check" make "$work/models"
    files=("$work"/models/*.tflite)
fi
if [ ${#files[@]} -eq 0 ]; then
    echo "No .tflite files in: $*" >&2
    exit 2
fi

# Debian's aarch64 Python and the emulator, from this machine's own sources, unpacked, not installed.
mkdir -p "$work"/apt/{lists,cache/archives}/partial "$work/root"
touch "$work/apt/status"
private_apt() {
    apt-get -qq -o Dir::State::Lists="$work/apt/lists" -o Dir::State::status="$work/apt/status" \
        -o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User="$(id -un)" \
        -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o APT::Architectures::=amd64 \
        -o Debug::NoLocking=1 "$@"
}
private_apt update
private_apt install -y --no-install-recommends --download-only \
    python3.11-minimal libpython3.11-stdlib libstdc++6
for package in "$work"/apt/cache/archives/*.deb; do dpkg-deb -x "$package" "$work/root"; done
emulator=$(command -v qemu-aarch64 || command -v qemu-aarch64-static || true)
if [ -z "$emulator" ]; then
    (cd "$work" && private_apt download qemu-user-static:amd64)
    dpkg-deb -x "$work"/qemu-user-static_*.deb "$work/qemu"
    emulator="$work/qemu/usr/bin/qemu-aarch64-static"
fi

# The interpreter's aarch64 build, of the version that is installed here.
version=$(python3 -c 'from importlib.metadata import version; print(version("ai-edge-litert"))')
python3 -m pip install --quiet --no-deps --target "$work/site" --only-binary=:all: \
    --python-version 3.11 --implementation cp \
    --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
    --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 \
    "ai-edge-litert==$version" flatbuffers numpy 2> >(grep -v '^WARNING' >&2)

# Without these the interpreter would read what kind of processor this machine has, and crash.
mkdir -p "$work/root/proc" "$work/root/sys/devices/system/cpu"
echo 0 | tee "$work/root/sys/devices/system/cpu/possible" > "$work/root/sys/devices/system/cpu/present"
describe() { # part number, features
    printf 'processor\t: 0\nFeatures\t: %s\nCPU implementer\t: 0x41\nCPU architecture: 8\n' "$2"
    printf 'CPU variant\t: 0x1\nCPU part\t: %s\nCPU revision\t: 1\n' "$1"
}
old="fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
usual="$old atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"
new="$usual i8mm bf16 sve sve2"

emulate() { # processor, file, answers
    PYTHONPATH="$work/site:$project" "$emulator" -cpu "$1" -L "$work/root" \
        -E PYTHONHOME="$work/root/usr" "$work/root/usr/bin/python3.11" -W ignore \
        "$check" check "$2" "$3" 2> >(grep -v '^INFO: Created' >&2)
}
export -f emulate
export work project emulator check

pairs=()
for file in "${files[@]}"; do
    answers="$work/answers-${#pairs[@]}.npz"
    quietly python3 "$check" write "$file" "$answers"
    pairs+=("$file" "$answers")
done
# SME off: version 7.2 of the emulator computes int8 products wrongly with it, 10.0 rightly.
for processor in "cortex-a53 0xd03 $old" "cortex-a76 0xd0b $usual" "max,sme=off 0xd4d $new"; do
    read -r name part features <<< "$processor"
    describe "$part" "$features" > "$work/root/proc/cpuinfo"
    echo "aarch64, $name:"
    # Two files at once; xargs fails where one of them does.
    printf '%s\0' "${pairs[@]}" | xargs -0 -n 2 -P 2 bash -c 'emulate "$0" "$1" "$2"' "$name"
done

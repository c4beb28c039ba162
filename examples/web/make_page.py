"""Writes a static page that runs an exported .tflite file in a browser.

    python examples/web/make_page.py saved_models/items/student.tflite --output page
    python -m http.server -d page

Then open http://localhost:8000. npm fetches LiteRT.js once; without npm, `--litert` names a copy.
Of retrieval the page runs one of the two files, and finds what `--candidates` holds.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import sample_pictures
import typer

from mmkd_tf.edge import Classifier, Encoder, Index, Regressor
from mmkd_tf.edge.interpreter import TensorRunner
from mmkd_tf.edge.model_file import SMALL, ModelFile, read_model_file
from mmkd_tf.edge.tokenizer import FOLD, SEPARATORS, SINGLES, TOKENIZER_RULES

_PACKAGE = "@litertjs/core"
_SOURCES = Path(__file__).with_name("page")
_KINDS = ("image", "text", "audio", "series")
_SINGLE = ("image", "text")  # of which the page takes one
_READERS = {"probabilities": Classifier, "values": Regressor, "embedding": Encoder}
_PACKAGE_FILES = ("package.json", "package-lock.json")
# index.html comes last: where it is, the page is whole.
_PAGE_FILES = (
    "style.css",
    "tokenizer.js",
    "model_file.js",
    "picture.js",
    "camera.js",
    "sound.js",
    "series.js",
    "signals.js",
    "remarks.js",
    "model.js",
    "view.js",
    "app.js",
    "index.html",
)
# Of the package's 38 MB: no threads, which need special headers, and nothing for graphics cards.
# Browsers without "relaxed SIMD" load the build called compat.
_LITERT_FILES = (
    "package.json",
    "dist/index.js",
    "wasm/litert_wasm_internal.js",
    "wasm/litert_wasm_internal.wasm",
    "wasm/litert_wasm_compat_internal.js",
    "wasm/litert_wasm_compat_internal.wasm",
)
_INSTALL_SECONDS = 300


def write_web_page(
    model_file: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    litert: str | os.PathLike | None = None,
    candidates: str | os.PathLike | None = None,
    samples: str | os.PathLike | None = None,
) -> Path:
    """Writes a page on which people try a model: what it takes, the answer, the time.

    The answer is one class of several, any number of labels, numbers, or what lies nearest among
    candidates.

    The model runs in the browser, by LiteRT.js on WebAssembly; nothing is fetched from or sent to
    anywhere but the page's own server. Serve the folder, for example by
    `python -m http.server -d FOLDER`: browsers don't run such pages as files. The model is in it as
    `model.tflite`, as it is; another exported file may take its place.

    Args:
        model_file: A file that `mmkd_tf.export.tflite.export_tflite` wrote, for a
            picture, a text, sounds, series or several of these.
        folder: Where the page goes. A page of this kind is replaced, other files stay.
        litert: Folder of an installed npm package `@litertjs/core`. By default npm fetches the
            version that this page was made for.
        candidates: Of a model of embeddings, what is found: a file that `mmkd_tf.edge.Index.save`
            wrote; by default that of the run, beside the model, such as `student_texts.npz`.
        samples: Folder of pictures that people may try, see `sample_pictures.read_folder`; by
            default six of OpenMoji (CC BY-SA 4.0), drawn anew, where its font is installed and the
            model's classes are those of the emoji data; else none.

    Returns:
        Path of the page, `index.html`.

    Raises:
        FileNotFoundError: If there is no such model file.
        ValueError: If the page can't run the model, candidates don't fit it, `samples` has no
            pictures, `folder` is a file or holds another page, or `litert` lacks files.
        ImportError: If npm is not installed, or can't fetch the package.
    """
    folder = Path(folder).resolve()
    _check_folder(folder)
    file = _check_model(model_file)
    found = _candidates(model_file, file, candidates)
    tried = sample_pictures.of_page(samples, file.class_names) if "image" in _kinds(file) else None
    folder.parent.mkdir(parents=True, exist_ok=True)
    # On the disk where the page goes, so that finished files need only be renamed.
    place = folder if folder.exists() else folder.parent
    with tempfile.TemporaryDirectory(dir=place, prefix=f".{folder.name}.") as temporary:
        whole = Path(temporary, "page")
        whole.mkdir()
        if litert is None:
            litert = _install(Path(temporary, "npm"))
        _copy_litert(Path(litert), whole / "litert")
        shutil.copyfile(model_file, whole / "model.tflite")
        (whole / "rules.json").write_text(json.dumps(tokenizer_rules()), encoding="utf-8")
        if found is not None:
            items = json.dumps(found.items, ensure_ascii=False)
            (whole / "candidates.json").write_text(items, encoding="utf-8")
            (whole / "candidates.bin").write_bytes(found.embeddings.astype("<f4").tobytes())
        if tried is not None:
            tried.write(whole)
        for name in _PAGE_FILES:
            shutil.copyfile(_SOURCES / name, whole / name)
        _move(whole, folder)
    return folder / "index.html"


def _check_folder(folder: Path) -> None:
    """Raises if a page can't go there."""
    received = None
    if folder.exists() and not folder.is_dir():
        received = "a file"
    elif (folder / "index.html").exists() and not (folder / "rules.json").exists():
        received = "which holds another page"
    if received:
        raise ValueError(
            "`folder`: a folder to make, an empty one or one with such a page. "
            f"Received: '{folder}', {received}. Choose another path."
        )


def _check_model(model_file: str | os.PathLike) -> ModelFile:
    """Reads a model; raises what is wrong with it for this page."""
    file = read_model_file(model_file)
    _READERS.get(file.output, Classifier)(model_file)
    runner = TensorRunner(file.content)
    kinds = _kinds(file)
    of_pictures = [n for n, kind in zip(file.inputs, kinds, strict=True) if kind == "image"]
    has_sets = any(len(runner.inputs[name][0]) != 4 for name in of_pictures)
    if has_sets or set(kinds) - set(_KINDS) or any(kinds.count(kind) > 1 for kind in _SINGLE):
        inputs = ", ".join(f"{n} ({kind})" for n, kind in zip(file.inputs, kinds, strict=True))
        raise ValueError(
            "`model_file`: one with inputs of one picture, one text, sounds or series, which the "
            f"page asks for. Received: '{os.fspath(model_file)}', with {inputs}."
        )
    if any(shape[0] is None or shape[0] < 1 for shape, _ in runner.inputs.values()):
        raise ValueError(
            "`model_file`: one for a fixed number of examples. "
            f"Received: '{os.fspath(model_file)}', for any number, which LiteRT.js does not know. "
            "Export it with batch_size=1."
        )
    return file


def _kinds(file: ModelFile) -> list[str]:
    return [entry.get("kind", name) for name, entry in file.inputs.items()]


def _candidates(model_file, file: ModelFile, candidates) -> Index | None:
    """Reads what a model of embeddings finds; None for another model."""
    if file.output != "embedding":
        if candidates is not None:
            raise ValueError(
                "`candidates`: nothing, since this model gives no embeddings. "
                f"Received: '{os.fspath(candidates)}'. Leave it out."
            )
        return None
    path = Path(model_file)
    (own,) = file.inputs
    name = path.stem.removesuffix(SMALL).removesuffix(f"_{own}")
    beside = [each for each in path.parent.glob(f"{name}_*s.npz") if each.stem != f"{name}_{own}s"]
    if candidates is None and len(beside) != 1:
        raise ValueError(
            f"`candidates`: a file of what is found, as mmkd_tf.edge.Index.save writes it. "
            f"Received: none, and beside '{path}' there is no {name}_<input>s.npz of the other "
            "input. Encode texts or pictures with the other file of the run, and name the index."
        )
    index = Index.load(beside[0] if candidates is None else candidates)
    width = Encoder(model_file).embedding_dim
    if index.embeddings.shape[1] != width:
        raise ValueError(
            f"`candidates`: embeddings of width {width}, as the model gives them. Received: width "
            f"{index.embeddings.shape[1]}. Encode them with the other file of the same run."
        )
    return index


def tokenizer_rules() -> dict:
    """Gives the tokenizer's rules as the page reads them, in code points.

    Returns:
        `rules` (their number), `separators` and `singles` (ranges, both ends included), `fold`
        (pairs of a code point and what it becomes).
    """
    return {
        "rules": TOKENIZER_RULES,
        "separators": [list(ends) for ends in SEPARATORS],
        "singles": [list(ends) for ends in SINGLES],
        "fold": [list(pair) for pair in sorted(FOLD.items())],
    }


def _install(folder: Path) -> Path:
    """Has npm fetch the package, by the checksums of package-lock.json; gives its folder."""
    folder.mkdir()
    for name in _PACKAGE_FILES:
        shutil.copyfile(_SOURCES / name, folder / name)
    version = json.loads((folder / "package.json").read_text())["dependencies"][_PACKAGE]
    elsewhere = (
        f"Or fetch it where there is npm, by `npm install {_PACKAGE}@{version}`, and name the "
        f"folder node_modules/{_PACKAGE} as litert."
    )
    npm = shutil.which("npm")
    if npm is None:
        raise ImportError(
            f"The page needs the npm package {_PACKAGE}, and npm was not found. Install Node.js "
            f"(https://nodejs.org), which brings npm. {elsewhere}"
        )
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        subprocess.run(
            command, cwd=folder, check=True, timeout=_INSTALL_SECONDS, capture_output=True
        )
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", None) or str(error).encode()
        raise ImportError(
            f"npm could not fetch {_PACKAGE} {version}: {said.decode(errors='replace').strip()}\n"
            f"Check the network and npm's settings (`npm ping`). {elsewhere}"
        ) from error
    return folder / "node_modules" / _PACKAGE


def _copy_litert(package: Path, folder: Path) -> None:
    """Copies what the page needs of LiteRT.js, without subfolders."""
    # npm puts the package that this one needs beside it, or inside it.
    helpers = [package.parent / "wasm-utils", package / "node_modules/@litertjs/wasm-utils"]
    helper = next((path for path in helpers if path.is_dir()), helpers[0])
    sources = {Path(name).name: package / name for name in _LITERT_FILES}
    sources["wasm-utils.js"] = helper / "dist/index.js"
    missing = [str(path) for path in sources.values() if not path.is_file()]
    if missing:
        raise ValueError(
            f"`litert`: folder of the installed npm package {_PACKAGE}, such as "
            f"node_modules/{_PACKAGE}. Received: '{package}', which lacks {', '.join(missing)}. "
            f"Install it by `npm install {_PACKAGE}`, or leave it out."
        )
    folder.mkdir()
    for name, path in sources.items():
        shutil.copyfile(path, folder / name)


def _move(whole: Path, folder: Path) -> None:
    """Moves a finished page to its place, index.html last."""
    if not folder.exists():
        os.replace(whole, folder)
        return
    for path in whole.iterdir():
        if path.is_dir():
            (folder / path.name).mkdir(exist_ok=True)
    last = whole / "index.html"
    for path in [*(p for p in whole.rglob("*") if p.is_file() and p != last), last]:
        os.replace(path, folder / path.relative_to(whole))


def main(
    model_file: Annotated[Path, typer.Argument(help="An exported .tflite file.")],
    output: Annotated[Path, typer.Option(help="Folder of the page.")],
    litert: Annotated[
        Path | None, typer.Option(help="An installed npm package @litertjs/core, without npm.")
    ] = None,
    candidates: Annotated[
        Path | None, typer.Option(help="Of retrieval, an index of what is found.")
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(help="A folder of pictures to try; none without, but of emoji.")
    ] = None,
) -> None:
    """Write a page that runs the model in a browser."""
    try:
        write_web_page(model_file, output, litert=litert, candidates=candidates, samples=samples)
    except (ValueError, OSError, ImportError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"Serve the page: python -m http.server -d {output}")
    typer.echo("Then open http://localhost:8000")


if __name__ == "__main__":
    typer.run(main)

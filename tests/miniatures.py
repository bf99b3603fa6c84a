"""Small made-up copies of the public data sets, in their exact formats on disk.

Every function writes a data set below a root as `clbench data prepare` would leave it, those named
`_archive` the files that it would fetch. The same call gives the same images on every machine.
Every class has a pattern of its own and every domain a tint, so that a method can learn them.
"""

from __future__ import annotations

import functools
import io
import pickle
import shutil
import struct
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import pytest

DOMAINS = ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")
RENDITIONS = (
    "art", "cartoon", "deviantart", "embroidery", "graffiti", "graphic", "misc", "origami",
    "painting", "sculpture", "sketch", "sticker", "tattoo", "toy", "videogame",
)  # fmt: skip

# --- pictures ----------------------------------------------------------------------------------


@functools.cache
def _pattern(label: int) -> np.ndarray:
    """What the images of a class share: int16 [40, 40, 3]."""
    coarse = np.random.default_rng((7, label)).integers(30, 226, (4, 4, 3))
    return np.kron(coarse, np.ones((10, 10, 1), np.int64)).astype(np.int16)


def pixels(label: int, domain: int, number: int) -> np.ndarray:
    """One image, uint8 [H, W, 3] with sides from 24 to 40; no two are the same."""
    random = np.random.default_rng((11, label, domain, number))
    height, width = 24 + random.integers(0, 17, 2)
    noise = random.integers(-20, 21, (height, width, 1), np.int16)
    tint = np.random.default_rng((13, domain)).integers(-25, 26, 3).astype(np.int16)
    return np.clip(_pattern(label)[:height, :width] + noise + tint, 0, 255).astype(np.uint8)


def encode(image: np.ndarray, format: str, mode: str = "RGB") -> bytes:
    """A picture file: `format` JPEG or PNG, `mode` a colour model of PIL."""
    picture = Image.fromarray(image)
    if mode == "RGBA":
        alpha = Image.fromarray(np.where(image[..., 0] > 40, 255, 0).astype(np.uint8))
        picture.putalpha(alpha)
    elif mode != "RGB":
        picture = picture.convert(mode)
    stream = io.BytesIO()
    picture.save(stream, format=format)
    return stream.getvalue()


def picture_file(label: int, domain: int, number: int, suffix: str) -> bytes:
    """The file of one image; one in six or so is grey, CMYK, has a palette or is transparent.

    As in the public archives, a name that ends in .jpg may hold a PNG.
    """
    kind = (5 * label + 3 * domain + number) % 19
    if suffix == ".png":
        return encode(
            pixels(label, domain, number), "PNG", {1: "L", 2: "RGBA", 3: "P"}.get(kind, "RGB")
        )
    if kind == 4:
        return encode(pixels(label, domain, number), "PNG", "P")
    return encode(pixels(label, domain, number), "JPEG", {1: "L", 2: "CMYK"}.get(kind, "RGB"))


# --- DomainNet ---------------------------------------------------------------------------------


def domainnet_classes(count: int = 345) -> list[str]:
    """Class folders in the order of their labels, which as in the original is not that of ASCII."""
    special = {1: "The_Great_Thing", 3: "t-shirt"}
    return [special.get(c, f"thing_{c:03d}") for c in range(count)]


def domainnet(
    root: Path, *, train: int = 2, test: int = 1, classes: int = 345, lists: str = "txt"
) -> Path:
    """`root/domainnet`: six domains and the official lists; `train` and `test` a class and domain.

    lists: the folder of the lists below the data set's; "" for the data set's folder itself.
    """
    folder = root / "domainnet"
    (folder / lists).mkdir(parents=True, exist_ok=True)
    names = domainnet_classes(classes)
    for d, domain in enumerate(DOMAINS):
        lines: dict[str, list[str]] = {"train": [], "test": []}
        for label, name in enumerate(names):
            (folder / domain / name).mkdir(parents=True, exist_ok=True)
            for number in range(train + test):
                if domain == "quickdraw":
                    file = f"{4_500_000_000_000_000 + 345_678_901 * (label * 997 + number)}.png"
                else:
                    file = f"{domain}_{label + 1:03d}_{number + 1:06d}.jpg"
                path = folder / domain / name / file
                path.write_bytes(picture_file(label, d, number, path.suffix))
                split = "train" if number < train else "test"
                lines[split].append(f"{domain}/{name}/{file} {label}\n")
        for split, text in lines.items():
            (folder / lists / f"{domain}_{split}.txt").write_text("".join(text))
    return folder


def domainnet_archives(root: Path, **options: Any) -> Path:
    """`root/domainnet` as it is fetched: six zip archives and twelve lists."""
    folder = domainnet(root, **options)
    for domain in DOMAINS:
        shutil.make_archive(str(folder / domain), "zip", folder, domain)
        shutil.rmtree(folder / domain)
    return folder


# --- ImageNet-R and ImageNet-A -----------------------------------------------------------------


def wordnet_ids(count: int = 200) -> list[str]:
    """Names of class folders, in alphabetical order."""
    return [f"n{1_443_537 + 57_193 * c:08d}" for c in range(count)]


def imagenet_r(root: Path, *, images: int = 10, classes: int = 200) -> Path:
    """`root/imagenet_r/imagenet-r` with `images` a class, named by their rendition."""
    files = []
    for label in range(classes):
        for number in range(images):
            domain = (label + number) % len(RENDITIONS)
            name = f"{RENDITIONS[domain]}_{number // len(RENDITIONS)}.jpg"
            files.append((label, domain, number, name))
    return _wordnet_tree(root, "r", files)


def imagenet_a(root: Path, *, images: int = 6, classes: int = 200) -> Path:
    """`root/imagenet_a/imagenet-a` with `images` a class; names hold spaces, as the original's."""
    files = []
    for label in range(classes):
        for number in range(images):
            guess = ("digital clock", "bow tie, bow-tie", "cat's eye")[number % 3]
            files.append((label, 0, number, f"0.{number:06d}_{guess} _ {guess}_0.{label:06d}.jpg"))
    return _wordnet_tree(root, "a", files)


def _wordnet_tree(root: Path, letter: str, files: list[tuple[int, int, int, str]]) -> Path:
    """Write files given by label, domain, number and name."""
    top = root / f"imagenet_{letter}" / f"imagenet-{letter}"
    names = wordnet_ids()
    for label, domain, number, name in files:
        (top / names[label]).mkdir(parents=True, exist_ok=True)
        (top / names[label] / name).write_bytes(picture_file(label, domain, number, ".jpg"))
    (top / "README.txt").write_text("a made-up copy\n")
    return top.parent


def imagenet_r_lists(folder: Path, *, under: str = "splits") -> dict[str, Path]:
    """The fixed lists of CODA-Prompt for the miniature in `folder`: {"train": file, "test": file}.

    Targets are a permutation of the alphabetical order, and entries come in no useful order.
    """
    names = sorted(entry.name for entry in (folder / "imagenet-r").iterdir() if entry.is_dir())
    random = np.random.default_rng(17)
    target = {names[c]: t for t, c in enumerate(random.permutation(len(names)))}
    files = {}
    paths = sorted(path.relative_to(folder) for path in folder.glob("imagenet-r/*/*.jpg"))
    paths = [paths[i] for i in random.permutation(len(paths))]
    (folder / under).mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        chosen = [p for i, p in enumerate(paths) if (i % 5 == 0) == (split == "test")]
        data = "".join(f"- data/{path.as_posix()}\n" for path in chosen)
        targets = "".join(f"- {target[path.parts[1]]}\n" for path in chosen)
        files[split] = folder / under / f"imagenet-r_{split}.yaml"
        files[split].write_text(f"data:\n{data}targets:\n{targets}")
    return files


# --- CUB-200-2011 ------------------------------------------------------------------------------


def cub200(root: Path, *, train: int = 2, test: int = 2, classes: int = 200) -> Path:
    """`root/cub200/CUB_200_2011` with its three lists, and the file that lies beside the folder."""
    top = root / "cub200" / "CUB_200_2011"
    columns: dict[str, list[str]] = {"images": [], "image_class_labels": [], "train_test_split": []}
    names = [f"{c + 1:03d}.Made_up_Bird_{c}" for c in range(classes)]
    index = 0
    for label, name in enumerate(names):
        (top / "images" / name).mkdir(parents=True, exist_ok=True)
        for number in range(train + test):
            index += 1
            file = f"Made_Up_Bird_{label}_{number + 1:04d}_{index}.jpg"
            content = picture_file(label, 0, number, ".jpg")
            (top / "images" / name / file).write_bytes(content)
            # training and test images alternate as long as there are some of both
            is_train = number % 2 == 0 if number < 2 * min(train, test) else train > test
            columns["images"].append(f"{index} {name}/{file}\n")
            columns["image_class_labels"].append(f"{index} {label + 1}\n")
            columns["train_test_split"].append(f"{index} {int(is_train)}\n")
    for stem, lines in columns.items():
        (top / f"{stem}.txt").write_text("".join(lines))
    (top / "classes.txt").write_text("".join(f"{i} {n}\n" for i, n in enumerate(names, 1)))
    (top / "README").write_text("a made-up copy\n")
    (top.parent / "attributes.txt").write_text("1 has_bill_shape::made_up\n")
    return top.parent


# --- CIFAR100 ----------------------------------------------------------------------------------


class _Python2Pickler(pickle._Pickler):
    """Writes what Python 2 wrote at protocol 2: byte strings as such, arrays by numpy.core."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value: bytes) -> None:
        if len(value) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(value)]) + value)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    def save_array(self, value: np.ndarray) -> None:
        self.write(pickle.GLOBAL + b"numpy.core.multiarray\n_reconstruct\n")
        self.write(pickle.MARK + pickle.GLOBAL + b"numpy\nndarray\n")
        self.save((0,))
        self.save(b"b")
        self.write(pickle.TUPLE + pickle.REDUCE)
        self.memoize(value)
        self.write(pickle.MARK)
        self.save(1)
        self.save(value.shape)
        self.write(pickle.GLOBAL + b"numpy\ndtype\n")
        self.save((b"u1", 0, 1))
        self.write(pickle.REDUCE)
        self.save((3, b"|", None, None, None, -1, -1, 0))
        self.write(pickle.BUILD)
        self.save(False)
        self.save(value.tobytes())
        self.write(pickle.TUPLE + pickle.BUILD)

    dispatch[bytes] = save_bytes
    dispatch[np.ndarray] = save_array


def python2_pickle(value: Any) -> bytes:
    """`value` (dictionaries, lists, bytes, integers, uint8 arrays) as Python 2 pickled it."""
    stream = io.BytesIO()
    _Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue()


def cifar100(root: Path, *, train: int = 5, test: int = 2, classes: int = 100) -> Path:
    """`root/cifar100/cifar-100-python`: `train` and `test` images a class, shuffled."""
    top = root / "cifar100" / "cifar-100-python"
    top.mkdir(parents=True, exist_ok=True)
    fine = [f"fine_{c:02d}" for c in range(classes)]
    coarse = [f"coarse_{c:02d}" for c in range((classes + 4) // 5)]
    for split, count, first in (("train", train, 0), ("test", test, train)):
        order = np.random.default_rng((19, first)).permutation(classes * count)
        labels = [int(i) // count for i in order]
        images = []
        for i in order:
            label, number = int(i) // count, first + int(i) % count
            noise = np.random.default_rng((23, label, number)).integers(-20, 21, (32, 32, 1))
            image = np.clip(_pattern(label)[:32, :32] + noise, 0, 255).astype(np.uint8)
            images.append(image.transpose(2, 0, 1).reshape(-1))  # channel first, [3072]
        content = {
            b"filenames": [b"%s_s_%06d.png" % (fine[c].encode(), k) for k, c in enumerate(labels)],
            b"batch_label": b"training batch 1 of 1"
            if split == "train"
            else b"testing batch 1 of 1",
            b"fine_labels": labels,
            b"coarse_labels": [label // 5 for label in labels],
            b"data": np.stack(images),
        }
        (top / split).write_bytes(python2_pickle(content))
    meta = {
        b"fine_label_names": [name.encode() for name in fine],
        b"coarse_label_names": [name.encode() for name in coarse],
    }
    (top / "meta").write_bytes(python2_pickle(meta))
    (top / "file.txt~").write_bytes(b"")  # a stray file that the original archive holds
    return top.parent


def accept_cifar100(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the files in `folder` for the published ones of CIFAR100."""
    from benchmark.data import cifar100 as original

    for name in original.FILES:
        monkeypatch.setitem(original.MD5, name, md5((folder / name).read_bytes()).hexdigest())

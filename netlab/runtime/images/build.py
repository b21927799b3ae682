"""Images of the catalogue, made of files of Debian packages on this machine.

No network is used. A layer of equal files has an equal digest.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

from netlab.base.errors import InputError, MachineError
from netlab.kernel.commands import missing, run_in
from netlab.runtime.images.catalogue import ABSENT, CATALOGUE, PACKAGES, Recipe
from netlab.runtime.images.reference import Reference
from netlab.runtime.images.store import BUILT, LAYER, Image, Store

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: every build has it: what images are made of decides about their digest, not when
_CREATED = "1970-01-01T00:00:00Z"
#: of an image, the digest of the recipe that it was made by
_LABEL = "netlab.recipe"


_USERS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534::/:/bin/false\n",  # noqa: E501
    "etc/group": "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
_DIRECTORIES = ("dev", "etc", "proc", "root", "run", "sys", "tmp", "var/log", "var/run")


def names() -> list[str]:
    """Every name that the catalogue can make."""
    return [name for recipe in CATALOGUE for name in recipe.names]


def build(store: Store, wanted: list[str], *, tell: Callable[[str], None] = lambda _: None) -> list[Image]:
    """The images of these names, or of all that this machine has the files for. MachineError for a named one that it
    has not."""
    asked = {str(Reference.parse(name)) for name in wanted}
    known = {str(Reference.parse(name)): recipe for recipe in CATALOGUE for name in recipe.names}
    strange = sorted(asked - known.keys())
    if strange:
        why = {str(Reference.parse(name)): reason for name, reason in ABSENT.items()}.get(strange[0])
        hint = why or f"it has {', '.join(names())}"
        raise InputError(f"the catalogue has no {Reference.parse(strange[0]).short}", hint=hint)
    made: list[Image] = []
    for recipe in CATALOGUE:
        references = [Reference.parse(name) for name in recipe.names]
        if asked and not asked & set(map(str, references)):
            continue
        lacking = [path for path in (*recipe.binaries, *recipe.trees) if not Path(path).exists()]
        if lacking and not asked:
            continue
        if lacking:
            packages = dict.fromkeys(PACKAGES[path] for path in lacking)
            hint = f"apt-get install --no-install-recommends {' '.join(packages)}"
            raise MachineError(f"{', '.join(lacking)} is not installed, which {recipe.names[0]} is made of", hint=hint)
        tell(recipe.names[0])
        made += _make(store, recipe, references)
    return made


def lacking(store: Store) -> list[str]:
    """Images that this machine has the files for and the store has not, or as an older recipe had them: a name of each.

    What somebody has loaded or pulled under such a name is left alone.
    """
    have = {image.name: image for image in store.all()}

    def fresh(recipe: Recipe, name: str) -> bool:
        image = have.get(str(Reference.parse(name)))
        return image is not None and (not image.built or _recipe(image) == recipe.digest)

    return [
        recipe.names[0]
        for recipe in CATALOGUE
        if all(Path(path).exists() for path in (*recipe.binaries, *recipe.trees))
        and not all(fresh(recipe, name) for name in recipe.names)
    ]


def _recipe(image: Image) -> str | None:
    labels = image.process.get("Labels")
    return labels.get(_LABEL) if isinstance(labels, dict) else None


def _make(store: Store, recipe: Recipe, references: list[Reference]) -> list[Image]:
    layer = _layer(recipe)
    digest, size = store.put(io.BytesIO(layer))
    import platform

    process = {
        **recipe.process, "Env": [f"PATH={_PATH}", *recipe.process.get("Env", ())], "Labels": {_LABEL: recipe.digest}
    }  # fmt: skip
    config = {
        "created": _CREATED, "os": "linux",
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "config": process,
        "rootfs": {"type": "layers", "diff_ids": [digest]},
        "history": [{"created": _CREATED, "created_by": BUILT, "comment": recipe.note}],
    }  # fmt: skip
    descriptor = {"mediaType": LAYER, "digest": digest, "size": size}
    return [store.add(reference, config, [descriptor]) for reference in references]


def _layer(recipe: Recipe) -> bytes:
    """A recipe's files as a tar. Merged as Debian has it: bin, sbin and lib are links into usr."""
    contents: dict[str, bytes] = {}
    links = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64", **recipe.links}
    for binary in recipe.binaries:
        for file in (Path(binary), *libraries(binary)):
            contents[_merged(str(file))] = file.read_bytes()
        if binary.endswith("/busybox"):
            applets = run_in(None, [binary, "--list"], check=True).stdout.split()
            own = {f"usr/bin/{Path(b).name}" for b in recipe.binaries} | set(recipe.texts)
            links |= {path: "busybox" for applet in applets if (path := f"usr/bin/{applet}") not in own}
    for tree in recipe.trees:
        files = (path for path in sorted(Path(tree).rglob("*")) if path.is_file())
        contents |= {_merged(str(path)): path.read_bytes() for path in files}
    texts = {**_USERS, **recipe.texts}
    contents |= {path: text.encode() for path, text in texts.items()} | dict(recipe.files)
    directories = {*_DIRECTORIES, "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", *recipe.directories}
    for path in (*contents, *links, *list(directories)):
        directories |= {str(above) for above in Path(path).parents if str(above) != "."}
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(directories - links.keys()):
            member = _member(path, tarfile.DIRTYPE, 0o1777 if path == "tmp" else 0o755)
            tar.addfile(member)
        for path, content in sorted(contents.items()):
            # what begins with #! or came from this machine's bin is run
            runs = content.startswith((b"#!", b"\x7fELF"))
            member = _member(path, tarfile.REGTYPE, 0o755 if runs else 0o644)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for path, target in sorted(links.items()):
            member = _member(path, tarfile.SYMTYPE, 0o777)
            member.linkname = target
            tar.addfile(member)
    return output.getvalue()


def _member(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.type, member.mode = kind, mode
    return member


def _merged(path: str) -> str:
    """A path of this machine in an image: /lib/x is usr/lib/x."""
    relative = path.lstrip("/")
    first = relative.partition("/")[0]
    return f"usr/{relative}" if first in ("bin", "sbin", "lib", "lib64") else relative


def libraries(binary: str) -> list[Path]:
    """What a program of this machine loads, and its loader; nothing for a static one. MachineError without ldd."""
    done = run_in(None, ["ldd", binary])
    if done.returncode != 0:
        if "not a dynamic executable" in done.stdout + done.stderr:
            return []
        raise missing("ldd")
    found = []
    for line in done.stdout.splitlines():
        words = line.split()
        path = words[2] if "=>" in words and len(words) > 2 else words[0]
        if path.startswith("/"):
            found.append(Path(path))
    return found

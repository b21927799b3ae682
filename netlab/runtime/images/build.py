"""The catalogue: small images under the names that the texts use, made of files of Debian packages on this machine.

What is in them is Debian's, whatever the tag says: nginx:1.7.9 and nginx:1.9.1 are one nginx with two pages, which is
all that a rolling update needs to be seen. No network is used. A layer of equal files has an equal digest.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netlab.base.errors import MachineError
from netlab.kernel.commands import missing, run_in
from netlab.runtime.images.reference import Reference
from netlab.runtime.images.store import LAYER, Image, Store

#: Debian's package of each file that recipes ask for
PACKAGES = {
    "/bin/busybox": "busybox-static",
    "/usr/sbin/nginx": "nginx-light",
    "/usr/bin/curl": "curl",
    "/usr/bin/bc": "bc",
}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: every build has it: what images are made of decides about their digest, not when
_CREATED = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """binaries: of this machine, with the libraries that they load; texts: files and what is in them; links: to what;
    directories: empty; process: the image's Cmd, Env …; note: what a person should know of it."""

    names: tuple[str, ...]
    binaries: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    directories: tuple[str, ...] = ()
    process: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


_USERS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534::/:/bin/false\n",  # noqa: E501
    "etc/group": "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
_DIRECTORIES = ("dev", "etc", "proc", "root", "run", "sys", "tmp", "var/log", "var/run")

_NGINX_CONF = """\
user www-data;
worker_processes 1;
error_log /dev/stderr notice;
pid /run/nginx.pid;
events { worker_connections 1024; }
http {
    default_type text/html;
    access_log /dev/stdout;
    client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
    server { listen 80; root /usr/share/nginx/html; }
}
"""
_PAGE = """\
<!DOCTYPE html>
<html><head><title>Welcome to nginx!</title></head>
<body><h1>Welcome to nginx!</h1><p>This is the image {tag} of netlab's catalogue.</p></body></html>
"""
_HELLO = """\

Hello from Docker!
This message shows that your installation appears to be working correctly.

"""
#: the page is made when the container starts, from the host name that it then has
_SERVE_HOSTNAME = "mkdir /tmp/www && hostname >/tmp/www/index.html && exec httpd -f -p 9376 -h /tmp/www"


def _nginx(tag: str) -> Recipe:
    return Recipe(
        names=(f"nginx:{tag}",), binaries=("/bin/busybox", "/usr/sbin/nginx"),
        directories=("var/log/nginx", "var/lib/nginx"),
        texts={
            "etc/nginx/nginx.conf": _NGINX_CONF,
            "usr/share/nginx/html/index.html": _PAGE.format(tag=f"nginx:{tag}"),
        },
        links={"var/log/nginx/access.log": "/dev/stdout", "var/log/nginx/error.log": "/dev/stderr"},
        process={"Cmd": ["nginx", "-g", "daemon off;"], "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGQUIT"},
        note="Debian's nginx with a page that tells the tag",
    )  # fmt: skip


#: process 1 of a shared process namespace: it waits for whatever is left to it, and ends when it is told to
_PAUSE = """\
#!/bin/sh
trap 'exit 0' TERM INT
while :; do
    sleep 2147483647 &
    wait $!
done
"""

CATALOGUE: tuple[Recipe, ...] = (
    Recipe(
        names=("k8s.gcr.io/pause",), binaries=("/bin/busybox",), texts={"pause": _PAUSE}, process={"Cmd": ["/pause"]},
        note="the infra container, which holds a pod's namespaces",
    ),
    Recipe(names=("busybox", "busybox:1.28.4"), binaries=("/bin/busybox",), process={"Cmd": ["sh"]}),
    *(_nginx(tag) for tag in ("1.7.9", "1.9.0", "1.9.1", "latest")),
    Recipe(
        names=("hello-world",), binaries=("/bin/busybox",), texts={"hello": _HELLO}, process={"Cmd": ["cat", "/hello"]}
    ),
    Recipe(
        names=("k8s.gcr.io/serve_hostname", "hostnames"), binaries=("/bin/busybox",),
        process={"Cmd": ["sh", "-c", _SERVE_HOSTNAME], "ExposedPorts": {"9376/tcp": {}}},
        note="answers every request with its host name, on port 9376",
    ),
    Recipe(
        names=("yauritux/busybox-curl",), binaries=("/bin/busybox", "/usr/bin/curl"), process={"Cmd": ["sh"]},
    ),
    Recipe(names=("resouer/ubuntu-bc",), binaries=("/bin/busybox", "/usr/bin/bc"), process={"Cmd": ["sh"]}),
)  # fmt: skip


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
        from netlab.base.errors import InputError

        raise InputError(f"the catalogue has no {strange[0]}", hint=f"it has {', '.join(names())}")
    made: list[Image] = []
    for recipe in CATALOGUE:
        references = [Reference.parse(name) for name in recipe.names]
        if asked and not asked & set(map(str, references)):
            continue
        lacking = [path for path in recipe.binaries if not Path(path).exists()]
        if lacking and not asked:
            continue
        if lacking:
            hint = f"apt-get install {' '.join(PACKAGES[path] for path in lacking)}"
            raise MachineError(f"{', '.join(lacking)} is not installed, which {recipe.names[0]} is made of", hint=hint)
        tell(recipe.names[0])
        made += _make(store, recipe, references)
    return made


def _make(store: Store, recipe: Recipe, references: list[Reference]) -> list[Image]:
    layer = _layer(recipe)
    digest, size = store.put(io.BytesIO(layer))
    import platform

    config = {
        "created": _CREATED, "os": "linux",
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "config": {"Env": [f"PATH={_PATH}"], **recipe.process},
        "rootfs": {"type": "layers", "diff_ids": [digest]},
        "history": [{"created": _CREATED, "created_by": "netlab image build", "comment": recipe.note}],
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
            own = {Path(b).name for b in recipe.binaries}
            links |= {f"usr/bin/{applet}": "busybox" for applet in applets if applet not in own}
    texts = {**_USERS, **recipe.texts}
    contents |= {path: text.encode() for path, text in texts.items()}
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

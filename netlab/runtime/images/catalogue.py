"""The catalogue: small images under the names that the texts use, by what they are made of.

What is in them is Debian's, whatever the tag says: nginx:1.7.9 and nginx:1.9.1 are one nginx with two pages, which is
all that a rolling update needs to be seen. Where Debian has nothing, a few lines stand in and say so in their note, or
ABSENT says why there is none.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Debian's package of each file that recipes ask for
PACKAGES = {
    "/bin/busybox": "busybox-static",
    "/usr/bin/getent": "libc-bin",
    "/usr/sbin/nginx": "nginx-light",
    "/usr/bin/curl": "curl",
    "/usr/bin/bc": "bc",
    "/bin/bash": "bash",
    "/usr/bin/ncat": "ncat",
    "/usr/sbin/mariadbd": "mariadb-server-core",
    "/usr/bin/mariadb-install-db": "mariadb-server-core",
    "/usr/bin/resolveip": "mariadb-server-core",
    "/usr/share/mysql": "mariadb-server-core",
    "/usr/bin/mariadb": "mariadb-client-core",
    "/usr/bin/my_print_defaults": "mariadb-client-core",
    "/usr/bin/mariadb-admin": "mariadb-client",
    "/usr/bin/mariabackup": "mariadb-backup",
    "/usr/bin/mbstream": "mariadb-backup",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """binaries: of this machine, with the libraries that they load; trees: its directories, as they are; texts, files:
    and what is in them; links: to what; directories: empty; process: the image's Cmd, Env …; note: what a person should
    know of it."""

    names: tuple[str, ...]
    binaries: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    directories: tuple[str, ...] = ()
    process: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def digest(self) -> str:
        """Another one when anything of the recipe is another."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


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

#: as busybox had it until 1.28: it asks by the C library, so the search list counts for names with dots, too. That of
#: later versions sends what has a dot as it is, and finds no web-0.nginx
_NSLOOKUP = """\
#!/bin/sh
# nslookup NAME [SERVER]: what programs of this container are told for a name. With a server: that of busybox.
[ $# = 1 ] || exec busybox nslookup "$@"
told() {
    count=0
    for address in "$@"; do
        count=$((count + 1))
        set -- $(getent hosts "$address")
        echo "Address $count: $address${2:+ $2}"
    done
}
server=$(sed -n 's/^nameserver[[:space:]]*//p' /etc/resolv.conf | head -n 1)
if [ -n "$server" ]; then
    echo "Server:    $server"
    told "$server"
    echo
fi
found=$(getent ahosts "$1" | sed -n 's/[[:space:]]*RAW.*//p')
if [ -z "$found" ]; then
    echo "nslookup: can't resolve '$1'" >&2
    exit 1
fi
echo "Name:      $1"
told $found
"""

#: as docker's image of MySQL takes its orders, for MariaDB
_MYSQL = """\
#!/bin/bash
# mysqld [OPTION...]: run the server, with tables made on the first start. Anything else is run as it is.
set -e
[[ ${1:0:1} != - ]] || set -- mysqld "$@"
[[ $1 == mysqld ]] || exec "$@"
shift
data=/var/lib/mysql
mkdir -p "$data" /run/mysqld/conf.d
for file in /etc/mysql/conf.d/*.cnf; do
    # MariaDB knows the weaker of the two
    [[ ! -e $file ]] || sed 's/^[[:space:]]*super[-_]read[-_]only/read-only/' "$file" >"/run/mysqld/conf.d/${file##*/}"
done
[[ $(id -u) != 0 ]] || chown -R mysql:mysql "$data" /run/mysqld
if [[ ! -d $data/mysql ]]; then
    if [[ -z $MYSQL_ROOT_PASSWORD && -z $MYSQL_ALLOW_EMPTY_PASSWORD && -z $MYSQL_RANDOM_ROOT_PASSWORD ]]; then
        echo 'error: database is uninitialized and password option is not specified' >&2
        echo 'You need to specify one of MYSQL_ROOT_PASSWORD, MYSQL_ALLOW_EMPTY_PASSWORD' >&2
        echo 'and MYSQL_RANDOM_ROOT_PASSWORD' >&2
        exit 1
    fi
    if [[ -z $MYSQL_ROOT_PASSWORD && -n $MYSQL_RANDOM_ROOT_PASSWORD ]]; then
        MYSQL_ROOT_PASSWORD=$(head -c 18 /dev/urandom | base64)
        echo "GENERATED ROOT PASSWORD: $MYSQL_ROOT_PASSWORD"
    fi
    mariadb-install-db --user=mysql --datadir="$data" --skip-test-db --skip-name-resolve --force \\
        --auth-root-authentication-method=normal >&2
    quote="'"
    quoted() { echo "'${1//$quote/$quote$quote}'"; }
    {
        echo "SET SESSION sql_mode='NO_BACKSLASH_ESCAPES';"
        # of the installation, without a password
        echo "DROP USER IF EXISTS root@'127.0.0.1', root@'::1', root@$(quoted "$(hostname)");"
        for host in localhost %; do
            echo "CREATE OR REPLACE USER root@'$host' IDENTIFIED BY $(quoted "$MYSQL_ROOT_PASSWORD");"
            echo "GRANT ALL ON *.* TO root@'$host' WITH GRANT OPTION;"
        done
        [[ -z $MYSQL_DATABASE ]] || echo "CREATE DATABASE IF NOT EXISTS \\`$MYSQL_DATABASE\\`;"
        if [[ -n $MYSQL_USER && -n $MYSQL_PASSWORD ]]; then
            echo "CREATE OR REPLACE USER $(quoted "$MYSQL_USER")@'%' IDENTIFIED BY $(quoted "$MYSQL_PASSWORD");"
            [[ -z $MYSQL_DATABASE ]] || echo "GRANT ALL ON \\`$MYSQL_DATABASE\\`.* TO $(quoted "$MYSQL_USER")@'%';"
        fi
    } >/run/mysqld/first.sql
    set -- --init-file=/run/mysqld/first.sql "$@"
fi
exec mariadbd --user=mysql "$@"
"""
_MYSQL_CONF = """\
[client]
socket=/run/mysqld/mysqld.sock
[mysqld]
datadir=/var/lib/mysql
socket=/run/mysqld/mysqld.sock
pid-file=/run/mysqld/mysqld.pid
bind-address=*
skip-name-resolve
innodb-buffer-pool-size=32M
performance-schema=off
!includedir /run/mysqld/conf.d/
"""
_MYSQL_USERS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nmysql:x:999:999:mysql:/var/lib/mysql:/bin/false\n",
    "etc/group": "root:x:0:\nmysql:x:999:\n",
}
_MYSQL_CLIENT = {"usr/bin/mysql": "mariadb", "usr/bin/mysqladmin": "mariadb-admin"}
_FLUENTD = """\
#!/bin/sh
# stands in for fluentd: it says which logs of this node it would send, whenever there are others
trap 'exit 0' TERM INT
before=none
while :; do
    logs=$(find /var/log -name '*.log' 2>/dev/null | sort)
    if [ "$logs" != "$before" ]; then
        echo "fluentd-elasticsearch {tag}, a stand-in: $(echo "$logs" | grep -c .) logs"
        echo "$logs"
        before=$logs
    fi
    sleep 10 & wait $!
done
"""
#: where the text has its Tomcat
_TOMCAT_HOME = "root/apache-tomcat-7.0.42-v2"
_TOMCAT = """\
#!/bin/sh
# stands in for Tomcat: it unpacks each archive of webapps, and serves the files
cd "$(dirname "$0")/../webapps" || exit 1
for archive in *.war; do
    [ ! -e "$archive" ] || unzip -q -o "$archive" -d "${archive%.war}"
done
exec httpd -f -p 8080 -h .
"""


def _war() -> bytes:
    """A web application of one page. Equal whenever it is made."""
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        page = zipfile.ZipInfo("index.html", date_time=(1980, 1, 1, 0, 0, 0))
        archive.writestr(page, "<!DOCTYPE html>\n<html><body><h1>Hello from sample.war</h1></body></html>\n")
    return output.getvalue()


def _fluentd(tag: str) -> Recipe:
    return Recipe(
        names=(f"k8s.gcr.io/fluentd-elasticsearch:{tag}",), binaries=("/bin/busybox",),
        texts={"run.sh": _FLUENTD.replace("{tag}", tag)}, process={"Cmd": ["/run.sh"]},
        note="a stand-in: Debian has no fluentd; it lists the logs that it would send",
    )  # fmt: skip


CATALOGUE: tuple[Recipe, ...] = (
    Recipe(
        names=("k8s.gcr.io/pause",), binaries=("/bin/busybox",), texts={"pause": _PAUSE}, process={"Cmd": ["/pause"]},
        note="the infra container, which holds a pod's namespaces",
    ),
    Recipe(
        names=("busybox", "busybox:1.28.4"), binaries=("/bin/busybox", "/usr/bin/getent"),
        # a shell that is typed into has the applets of its own before PATH, but not before an alias
        texts={"usr/bin/nslookup": _NSLOOKUP, "etc/shrc": "alias nslookup=/usr/bin/nslookup\n"},
        process={"Env": ["ENV=/etc/shrc"], "Cmd": ["sh"]},
        note="Debian's busybox with an nslookup that searches, as that of 1.28",
    ),
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
    Recipe(
        names=("debian", "ubuntu"), binaries=("/bin/busybox", "/bin/bash"), process={"Cmd": ["bash"]},
        note="bash and busybox; there is no apt in it",
    ),
    Recipe(
        names=("mysql:5.7",),
        binaries=(
            "/bin/busybox", "/bin/bash", "/usr/sbin/mariadbd", "/usr/bin/mariadb-install-db", "/usr/bin/resolveip",
            "/usr/bin/my_print_defaults", "/usr/bin/mariadb", "/usr/bin/mariadb-admin",
        ),
        trees=("/usr/share/mysql",),
        texts={**_MYSQL_USERS, "usr/bin/docker-entrypoint.sh": _MYSQL, "etc/mysql/my.cnf": _MYSQL_CONF},
        links=_MYSQL_CLIENT, directories=("var/lib/mysql", "etc/mysql/conf.d", "run/mysqld"),
        process={"Entrypoint": ["docker-entrypoint.sh"], "Cmd": ["mysqld"], "ExposedPorts": {"3306/tcp": {}}},
        note="MariaDB 10.11, which Debian has in MySQL's place; it takes the variables of docker's image",
    ),
    Recipe(
        names=("gcr.io/google-samples/xtrabackup:1.0",),
        binaries=(
            "/bin/busybox", "/bin/bash", "/usr/bin/ncat", "/usr/bin/mariabackup", "/usr/bin/mbstream",
            "/usr/bin/mariadb", "/usr/bin/my_print_defaults",
        ),
        texts={**_MYSQL_USERS, "etc/mysql/my.cnf": "[mariabackup]\ndatadir=/var/lib/mysql\n"},
        links={
            "usr/bin/mysql": "mariadb", "usr/bin/xtrabackup": "mariabackup", "usr/bin/xbstream": "mbstream",
        },
        directories=("var/lib/mysql", "etc/mysql/conf.d"), process={"Cmd": ["bash"]},
        note="mariabackup under the names of Percona's tools",
    ),
    *(_fluentd(tag) for tag in ("1.20", "v2.2.0")),
    Recipe(
        names=("geektime/sample:v2",), binaries=("/bin/busybox",), files={"sample.war": _war()},
        process={"Cmd": ["sh"]}, note="a web archive of one page",
    ),
    Recipe(
        names=("geektime/tomcat:7.0",), binaries=("/bin/busybox",),
        texts={f"{_TOMCAT_HOME}/bin/start.sh": _TOMCAT}, directories=(f"{_TOMCAT_HOME}/webapps",),
        process={"Cmd": [f"/{_TOMCAT_HOME}/bin/start.sh"], "ExposedPorts": {"8080/tcp": {}}},
        note="a stand-in: Debian has no Tomcat 7; it unpacks web archives and serves their files on port 8080",
    ),
)  # fmt: skip

#: images of the texts that are not made, and what takes their place
ABSENT: Mapping[str, str] = {
    "quay.io/coreos/flannel:v0.8.0-amd64": "netlab flanneld runs on each node, as part of netlab agent",
    "gcr.io/google_containers/kube-proxy-amd64:1.7.4": "netlab proxy runs on each node, as part of netlab agent",
    "rook/ceph": "Ceph needs disks of its own; PersistentVolumes here are of hostPath and local",
}

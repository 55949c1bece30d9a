"""Download a jar, check its SHA-256 and unpack the one .txz archive in it.

usage: fetch_jar.py URL SHA256 DEST

The archive is a PostgreSQL installation: bin, lib and share are written below DEST.
"""

import hashlib
import io
import os
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile

TIMEOUT_SECONDS = 60


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            return response.read()
    except (urllib.error.URLError, TimeoutError) as error:
        sys.exit(f"downloading {url}: {error}")


def installation(jar):
    """Return the bytes of the archive inside the jar."""
    with zipfile.ZipFile(io.BytesIO(jar)) as archive:
        names = [name for name in archive.namelist() if name.endswith(".txz")]
        if len(names) != 1:
            sys.exit(f"the jar holds {len(names)} .txz archives, expected one")
        return archive.read(names[0])


def unpack(txz, dest):
    root = os.path.realpath(dest)
    with tarfile.open(fileobj=io.BytesIO(txz), mode="r:xz") as archive:
        for member in archive:
            for path in (member.name, os.path.join(os.path.dirname(member.name), member.linkname)):
                if not os.path.realpath(os.path.join(root, path)).startswith(root):
                    sys.exit(f"{member.name} would land outside {root}")
            archive.extract(member, root, set_attrs=True)


def main(argv):
    if len(argv) != 4:
        sys.exit(__doc__)
    url, want, dest = argv[1:]
    try:
        import lzma  # noqa: F401  tarfile needs it, and some builds of Python lack it
    except ImportError:
        sys.exit("this python3 was built without lzma; use another one, such as the system's")
    jar = fetch(url)
    got = hashlib.sha256(jar).hexdigest()
    if got != want:
        sys.exit(f"{os.path.basename(url)} has sha256 {got}, expected {want}")
    os.makedirs(dest, exist_ok=True)
    os.umask(0o022)
    unpack(installation(jar), dest)


if __name__ == "__main__":
    main(sys.argv)

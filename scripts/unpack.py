"""Check a wheel's SHA-256 and unpack parts of it.

usage: unpack.py WHEEL SHA256 DEST PREFIX[=FOLDER] [PREFIX[=FOLDER] ...]

Every member whose name starts with PREFIX is written: with a FOLDER, to DEST/FOLDER
under its name after PREFIX's last slash; without one, to DEST under its full name. Modes are normalised so that another user can read and execute the
tree: PostgreSQL refuses to run as root, so root's copy is used by somebody else.
"""

import hashlib
import os
import shutil
import sys
import zipfile


def digest(path):
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            sha.update(block)
    return sha.hexdigest()


def unpack(wheel, dest, prefix, folder):
    """Write the members below prefix to dest/folder and return their number."""
    root = os.path.realpath(os.path.join(dest, folder or ""))
    cut = 0 if folder is None else prefix.rfind("/") + 1
    count = 0
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if member.is_dir() or not member.filename.startswith(prefix):
                continue
            name = member.filename[cut:]
            path = os.path.realpath(os.path.join(root, name))
            if not path.startswith(root + os.sep):
                sys.exit(f"unpack: {member.filename} would land outside {root}")
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            with archive.open(member) as source, open(path, "wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            os.chmod(path, 0o755 if (member.external_attr >> 16) & 0o111 else 0o644)
            count += 1
    return count


def main(argv):
    if len(argv) < 5:
        sys.exit(__doc__)
    wheel, want, dest = argv[1:4]
    got = digest(wheel)
    if got != want:
        sys.exit(f"unpack: {os.path.basename(wheel)} has sha256 {got}, expected {want}")
    os.umask(0o022)
    for rule in argv[4:]:
        prefix, named, folder = rule.partition("=")
        if unpack(wheel, dest, prefix, folder if named else None) == 0:
            sys.exit(f"unpack: {os.path.basename(wheel)} holds nothing below {prefix}")


if __name__ == "__main__":
    main(sys.argv)

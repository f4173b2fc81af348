"""Print the licenses of all packages in this environment, as a table in Markdown.

    python licenses.py

It fails if a package does not state its license.
"""

import sys
from importlib.metadata import Distribution, distributions

HEAD = """\
# Licenses of framecache and its dependencies

As their packages state them. Wheels can contain further libraries, such as FFmpeg in av, under
licenses of their own: see the license files in each package.
"""
LONGEST = 60
"""Characters of a license's name; longer strings are the whole license."""


def main() -> None:
    """Print the table."""
    found = sorted(distributions(), key=lambda one: one.metadata["Name"].lower())
    print(HEAD)
    print("| package | version | license |\n|---|---|---|")
    for one in found:
        print(f"| {one.metadata['Name']} | {one.version} | {license_of(one)} |")
    unknown = [one.metadata["Name"] for one in found if not license_of(one)]
    if unknown:
        sys.exit(f"no license is stated by {', '.join(unknown)}")


def license_of(package: Distribution) -> str:
    """Return the license that a package states: expression, classifiers, or short text."""
    metadata = package.metadata
    if expression := "".join(metadata.get_all("License-Expression", [])):
        return expression
    classifiers = metadata.get_all("Classifier", [])
    names = [text.rpartition(" :: ")[2] for text in classifiers if text.startswith("License ::")]
    text = "".join(metadata.get_all("License", [])).partition("\n")[0].strip()
    fallback = text if text != "UNKNOWN" and len(text) <= LONGEST else ""
    return ", ".join(name for name in names if name != "OSI Approved") or fallback


if __name__ == "__main__":
    main()

"""The bill of materials of what is deployed: CycloneDX JSON, from the pinned requirements.

``make sbom`` writes it to build/sbom.cdx.json, and so does every build for a deployment. The packages are those of the
layer, at the versions that it installs; the function packages and the layer itself are named by the hash of what they
were made from.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.requirements import Requirement

from infra.version import version

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements" / "layer.txt"
FILE = "sbom.cdx.json"
# What the markers of the requirements are about, on Lambda.
_LAMBDA = {
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "sys_platform": "linux",
    "os_name": "posix",
    "python_version": "3.13",
    "python_full_version": "3.13.0",
}
_SPACE = uuid.UUID("6f9619ff-8b86-5d01-b42d-00cf4fc964ff")


def packages(requirements: str) -> Iterator[Requirement]:
    """The pinned packages that Lambda gets, of a file that pip installs from."""
    for line in requirements.splitlines():
        text = line.removesuffix("\\").strip()
        if not text or text.startswith(("#", "--")):
            continue
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(dict(_LAMBDA)):
            yield requirement


def bill(requirements: str, parts: Mapping[str, str]) -> str:
    """The bill as CycloneDX 1.6 JSON. The same input gives the same text.

    Args:
        requirements: the content of requirements/layer.txt.
        parts: what was built, by name, and the SHA-256 of what it was made from.
    """
    root = Component(type=ComponentType.APPLICATION, name="order-engine", version=version(), bom_ref="order-engine")
    layer = Component(type=ComponentType.LIBRARY, name="layer", version=version(), bom_ref="layer")
    functions = [_part(name, parts[name]) for name in sorted(parts) if name != "layer"]
    if "layer" in parts:
        layer.properties.add(_made_from(parts["layer"]))
    listed = [_package(requirement) for requirement in packages(requirements)]
    bom = Bom(components=[layer, *functions, *listed])
    bom.metadata.component = root
    bom.register_dependency(root, [layer, *functions])
    bom.register_dependency(layer, listed)
    document = json.loads(_writer(bom).output_as_string())
    # A serial number and a time of its own would make every build another one.
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(_SPACE, json.dumps([requirements, sorted(parts.items())]))}"
    document["metadata"].pop("timestamp", None)
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _writer(bom: Bom) -> JsonV1Dot6:
    writer = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6)
    assert isinstance(writer, JsonV1Dot6)
    return writer


def _part(name: str, made_from: str) -> Component:
    part = Component(type=ComponentType.APPLICATION, name=name, version=version(), bom_ref=f"function:{name}")
    part.properties.add(_made_from(made_from))
    return part


def _made_from(digest: str) -> Property:
    return Property(name="order-engine:made-from:sha256", value=digest)


def _package(requirement: Requirement) -> Component:
    [pin] = requirement.specifier
    assert pin.operator == "=="
    url = PackageURL("pypi", None, requirement.name.lower(), pin.version)
    return Component(
        type=ComponentType.LIBRARY, name=requirement.name, version=pin.version, purl=url, bom_ref=url.to_string()
    )


def write(directory: Path, parts: Mapping[str, str]) -> Path:
    """Write the bill into a directory; its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / FILE
    path.write_text(bill(REQUIREMENTS.read_text(encoding="utf-8"), parts), encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    from infra import bundle

    layer, functions = bundle.build("x86_64" if "x86_64" in (arguments or sys.argv[1:]) else "arm64")
    parts = {"layer": layer.hash, **{name: built.hash for name, built in functions.items()}}
    print(write(bundle.BUILD, parts).relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())

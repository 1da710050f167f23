"""Where a shared object looks for libraries, beside the places of the system."""

import io
from collections.abc import Iterator

from elftools.elf.dynamic import DynamicSection  # type: ignore[import-untyped]
from elftools.elf.elffile import ELFFile  # type: ignore[import-untyped]

__all__ = ["run_paths"]


def run_paths(content: bytes) -> Iterator[str]:
    """Yield the RPATH and RUNPATH of an ELF file."""
    for section in ELFFile(io.BytesIO(content)).iter_sections():
        if isinstance(section, DynamicSection):
            for tag in section.iter_tags():
                if tag.entry.d_tag in ("DT_RPATH", "DT_RUNPATH"):
                    yield tag.rpath if tag.entry.d_tag == "DT_RPATH" else tag.runpath

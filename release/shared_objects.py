"""Where a shared object looks for libraries, beside the places of the system."""

import io
from collections.abc import Iterator

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

__all__ = ["run_paths"]


def run_paths(content: bytes) -> Iterator[str]:
    """Yield the RPATH and RUNPATH of an ELF file."""
    for section in ELFFile(io.BytesIO(content)).iter_sections():
        if isinstance(section, DynamicSection):
            for tag in section.iter_tags():
                attribute = {"DT_RPATH": "rpath", "DT_RUNPATH": "runpath"}.get(tag.entry.d_tag)
                if attribute:  # which only a tag of that kind has
                    yield str(getattr(tag, attribute))

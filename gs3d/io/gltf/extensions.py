"""glTF extensions: which of those that a file needs are read."""

from pathlib import Path

from gs3d.core.errors import UserError, shown
from gs3d.io.gltf.container import Glb

READ = (
    "EXT_mesh_gpu_instancing",
    "EXT_texture_webp",
    "KHR_animation_pointer",
    "KHR_gaussian_splatting",
    "KHR_lights_punctual",
    "KHR_mesh_quantization",
    "KHR_node_visibility",
    "KHR_texture_transform",
    "KHR_xmp_json_ld",
)
"""Extensions that are read, or that change nothing in a picture of the object at rest, without
light."""
MATERIALS = "KHR_materials_"
"""Beginning of the extensions of materials. Most change how a surface looks under lights, and gs3d
shows it without; `materials` reads the others."""
COMPRESSED = {
    "KHR_draco_mesh_compression": "Draco, a compression of meshes",
    "EXT_meshopt_compression": "meshopt, a compression",
    "KHR_meshopt_compression": "meshopt, a compression",
    "KHR_texture_basisu": "Basis Universal, a compression of textures",
    "KHR_spz_gaussian_splats_compression": "compressed splats",
    "KHR_gaussian_splatting_compression_spz": "compressed splats",
    "KHR_gaussian_splatting_compression_spz_2": "compressed splats",
}


def check_extensions(glb: Glb) -> None:
    """UserError if the file needs an extension that is not read."""
    required = glb.tree.get("extensionsRequired")
    for name in required if isinstance(required, list) else ():
        text = shown(name)
        if name not in READ and not text.startswith(MATERIALS):
            raise unread_extension(glb.path, text)


def unread_extension(path: Path, name: str) -> UserError:
    """The UserError for a file that needs the extension `name`."""
    compressed = name in COMPRESSED
    what = f"{COMPRESSED[name]} ({name})" if compressed else f"the extension {name}"
    without = "compression" if compressed else "it"
    return UserError(
        f"cannot read {path}: it uses {what}, which gs3d does not read. "
        f"Save it without {without} in the program that wrote it."
    )


def extension(entry: object, name: str) -> dict | None:
    """The extension `name` of a JSON object; None if it has none."""
    extensions = entry.get("extensions") if isinstance(entry, dict) else None
    found = extensions.get(name) if isinstance(extensions, dict) else None
    return found if isinstance(found, dict) else None


def compression_of(entry: object) -> str | None:
    """The first extension of a JSON object that compresses its data; None if there is none."""
    return next((name for name in COMPRESSED if extension(entry, name) is not None), None)

"""The viewer in the browser, built on viser. Only this module imports viser."""

import contextlib
import io
import math
import socket
import threading
from collections.abc import Iterable
from typing import cast

import numpy as np
import rich
import viser
from PIL import Image
from viser import transforms

from gs3d.core.cameras import Cameras
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.ops.place import Place
from gs3d.ops.transforms import WORLD_TO_GLTF
from gs3d.representations.asset import Asset
from gs3d.runs.outputs.files import BACKGROUND
from gs3d.viewer.scene import (
    FOVY_DEG,
    INSIDE_FOVY_DEG,
    PRESETS,
    UNITS,
    gaussians_of,
    glb_of,
    viewpoint,
    viser_arguments,
)
from gs3d.viewer.server import address_of, guarded, token_for
from gs3d.viewer.text import PlainText

OBJECT = "/object"
FRUSTUM_SIZE = 0.15
RENDER_TIMEOUT_S = 10.0
"""For an image that a browser renders."""
UP = (0.0, 0.0, 1.0)


class Viewer:
    """Shows one asset at a time, first from the front, or looking to the front from the middle of a
    scene, with controls in the browser.

    Callbacks of the controls run in threads of viser. `server`, the viser server, and `about`, the
    line of text above the controls, may be used by other modules.
    """

    def __init__(self, sock: socket.socket, name: str, place: Place, inside: bool = False):
        """Serve browsers at `sock`. `name` is the title of the panel and the stem of saved images;
        `inside`, cameras look out from the middle of a scene.

        Raises:
            UserError: This version of viser opens its port in a way that cannot be guarded.
        """
        self.name, self.place, self.inside, self.token = name, place, inside, token_for(sock)
        self.address = address_of(sock, self.token)
        with _quiet(), guarded(sock, self.token) as used:
            self.server = viser.ViserServer(host="127.0.0.1", port=0, label=name, verbose=False)
        if not used:
            self.close()
            raise UserError(
                "gs3d cannot restrict access to the port of this version of viser; "
                'run: pip install "viser==1.1.*"'
            )
        self._lock = threading.Lock()
        self._node: viser.GaussianSplatHandle | viser.GlbHandle | None = None
        self._gaussians, self._sent_factors = None, None
        self._set_camera()
        self._add_controls()

    def _set_camera(self) -> None:
        self.server.scene.set_up_direction(UP)
        start = self.server.initial_camera
        start.position, start.look_at = viewpoint("front", self.inside)
        start.up, start.fov = UP, math.radians(INSIDE_FOVY_DEG if self.inside else FOVY_DEG)

    def _add_controls(self) -> None:
        gui = self.server.gui
        # Sharing would send all data through a third-party server.
        gui.configure_theme(show_logo=False, show_share_button=False)
        self.about = PlainText(gui)
        self.presets = gui.add_button_group("Camera", tuple(PRESETS))
        self.presets.on_click(self._apply_preset)
        red, green, blue = (round(255 * x) for x in BACKGROUND)
        self.background = gui.add_rgb("Background", (red, green, blue))
        self.background.on_update(lambda _: self._send_background())
        self.opacity = gui.add_slider("Opacity", 0.0, 1.0, 0.01, 1.0, visible=False)
        self.size = gui.add_slider("Splat size", 0.05, 2.0, 0.05, 1.0, visible=False)
        for slider in (self.opacity, self.size):
            slider.on_update(lambda _: self._update_splats())
        self.save = gui.add_button("Save image")
        self.save.on_click(self._save_image)
        self._send_background()

    def show(self, asset: Asset, about: str, name: str | None = None) -> None:
        """Replace the asset that is shown.

        Args:
            asset: Splats or a mesh, in world coordinates.
            about: A line of text about it.
            name: A new title of the panel and stem of saved images; None keeps the old one.
        """
        with self._lock:
            if name not in (None, self.name):
                self.name = name
                self.server.gui.set_panel_label(name)
            splats = isinstance(asset, Splats)
            if self._node is not None and splats != (self._gaussians is not None):
                self._node.remove()
                self._node = None
            self._gaussians = gaussians_of(asset, self.place) if splats else None
            self._sent_factors = None
            self.opacity.visible = self.size.visible = splats
            self.about.content = about
            if splats:
                self._send_splats()
            else:
                self._add_mesh(glb_of(asset))

    def _send_splats(self) -> None:
        factors = self.opacity.value, self.size.value
        # Dragging a slider queues many calls. The first one to run already has the newest values.
        if self._gaussians is None or factors == self._sent_factors:
            return
        self._sent_factors, arrays = factors, viser_arguments(self._gaussians, *factors)
        if self._node is None:
            self._node = self.server.scene.add_gaussian_splats(OBJECT, **arrays, scale=1 / UNITS)
        else:
            cast("viser.GaussianSplatHandle", self._node).set_gaussians(**arrays)

    def _update_splats(self) -> None:
        with self._lock:
            self._send_splats()

    def _add_mesh(self, glb: bytes) -> None:
        rotation = transforms.SO3.from_matrix(np.array(WORLD_TO_GLTF).T).wxyz
        scale = 1 / self.place.radius
        self._node = self.server.scene.add_glb(
            OBJECT, glb, scale=scale, wxyz=rotation, position=-scale * self.place.center
        )

    def add_frusta(self, label: str, cameras: Iterable[Cameras]) -> None:
        """Add a checkbox that shows the frusta of `cameras`, which look at the unit sphere."""
        self.frusta = [
            frustum
            for i, group in enumerate(cameras)
            for frustum in self._add_frustum_nodes(f"/cameras/{i}", group)
        ]
        self.shows_frusta = self.server.gui.add_checkbox(label, False)

        @self.shows_frusta.on_update
        def _(event: viser.GuiEvent) -> None:
            for frustum in self.frusta:
                frustum.visible = event.target.value

    def _add_frustum_nodes(self, parent: str, cameras: Cameras) -> list[viser.CameraFrustumHandle]:
        poses = np.linalg.inv(cameras.world_to_camera.double().numpy())
        fovy = 2 * np.arctan(0.5 * cameras.height / cameras.intrinsics[:, 1, 1].double().numpy())
        return [
            self.server.scene.add_camera_frustum(
                f"{parent}/{i}",
                float(angle),
                cameras.width / cameras.height,
                scale=FRUSTUM_SIZE,
                wxyz=transforms.SO3.from_matrix(pose[:3, :3]).wxyz,
                position=pose[:3, 3],
                visible=False,
            )
            for i, (pose, angle) in enumerate(zip(poses, fovy, strict=True))
        ]

    def notify(self, title: str, text: str) -> None:
        """Show a message in every browser until it is closed there."""
        for client in self.server.get_clients().values():
            client.add_notification(title, text, color="red")

    def _apply_preset(self, event: viser.GuiEvent) -> None:
        for client in [event.client] if event.client else self.server.get_clients().values():
            with client.atomic():
                position, look_at = viewpoint(event.target.value, self.inside)
                client.camera.position, client.camera.look_at = position, look_at
                client.camera.up_direction = UP

    def _send_background(self) -> None:
        self.server.scene.set_background_image(
            np.full((2, 2, 3), self.background.value, np.uint8), format="png"
        )

    def _save_image(self, event: viser.GuiEvent) -> None:
        """Offer a render as a download, because the browser may run on another machine."""
        client, data = event.client, io.BytesIO()
        assert client is not None  # a click comes from a browser
        try:
            render = client.get_render(
                client.camera.image_height,
                client.camera.image_width,
                transport_format="png",
                timeout=RENDER_TIMEOUT_S,
            )
        except (RuntimeError, TimeoutError) as error:
            client.add_notification("No image", str(error))
            return
        Image.fromarray(render[..., :3]).save(data, format="PNG")
        client.send_file_download(f"{self.name}.png", data.getvalue(), save_immediately=True)

    def close(self) -> None:
        """Stop the server, which disconnects all browsers."""
        with _quiet():
            self.server.stop()


@contextlib.contextmanager
def _quiet():
    """Suppress viser's own output on standard output, which no option of viser does."""
    # Creates rich's shared console while standard output is still the terminal.
    rich.get_console()
    with contextlib.redirect_stdout(io.StringIO()):
        yield

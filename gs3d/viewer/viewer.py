"""A viewer in the browser, by viser, which no other module imports."""

import contextlib
import io
import math
import socket
import threading
from collections.abc import Iterable

import numpy as np
import rich
import viser
from PIL import Image

from gs3d.core.cameras import Cameras
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.ops.transforms import WORLD_TO_GLTF
from gs3d.representations.asset import Asset
from gs3d.runs.outputs.files import BACKGROUND
from gs3d.viewer.scene import (
    FOVY_DEG,
    PRESETS,
    UNITS,
    Place,
    gaussians_of,
    glb_of,
    position_of,
    sent,
)
from gs3d.viewer.server import address_of, guarded, token_for

OBJECT = "/object"
FRUSTUM_SIZE = 0.15
PICTURE_S = 10.0
"""How long a browser may take over a picture."""
UP = (0.0, 0.0, 1.0)


class Viewer:
    """Shows one object, opened from the front, with controls for whoever looks. They call from threads of their own."""

    def __init__(self, sock: socket.socket, name: str, place: Place):
        """Open `sock` to browsers. `name` is what is shown, and what pictures of it are called."""
        self.name, self.place, self.token = name, place, token_for(sock)
        self.address = address_of(sock, self.token)
        with _quiet(), guarded(sock, self.token) as used:
            self.server = viser.ViserServer(host="127.0.0.1", port=0, label=name, verbose=False)
        if not used:
            self.close()
            raise UserError(
                'gs3d cannot guard the port of this version of viser; pip install "viser==1.1.*"'
            )
        self._lock = threading.Lock()
        self._node, self._gaussians, self._drawn = None, None, None
        self._set_camera()
        self._add_controls()

    def _set_camera(self) -> None:
        self.server.scene.set_up_direction(UP)
        start = self.server.initial_camera
        start.position, start.look_at, start.up = position_of("front"), (0.0, 0.0, 0.0), UP
        start.fov = math.radians(FOVY_DEG)

    def _add_controls(self) -> None:
        gui = self.server.gui
        gui.configure_theme(
            show_logo=False, show_share_button=False
        )  # sharing would send everything through another's server
        self.about = gui.add_markdown("")
        self.presets = gui.add_button_group("Camera", tuple(PRESETS))
        self.presets.on_click(self._look_from)
        self.background = gui.add_rgb("Background", tuple(round(255 * x) for x in BACKGROUND))
        self.background.on_update(lambda _: self._paint_background())
        self.opacity = gui.add_slider("Opacity", 0.0, 1.0, 0.01, 1.0, visible=False)
        self.size = gui.add_slider("Size of splats", 0.05, 2.0, 0.05, 1.0, visible=False)
        for slider in (self.opacity, self.size):
            slider.on_update(lambda _: self._redraw())
        self.picture = gui.add_button("Save picture")
        self.picture.on_click(self._save_picture)
        self._paint_background()

    def show(self, asset: Asset, about: str, name: str | None = None) -> None:
        """`made` in the place of what is shown, a line about it, and, if it is another object, what it and its pictures are called."""
        with self._lock:
            if name not in (None, self.name):
                self.name = name
                self.server.gui.set_panel_label(name)
            splats = isinstance(asset, Splats)
            if self._node is not None and splats != (self._gaussians is not None):
                self._node.remove()
                self._node = None
            self._gaussians, self._drawn = gaussians_of(asset, self.place) if splats else None, None
            self.opacity.visible = self.size.visible = splats
            self.about.content = about
            if splats:
                self._draw_splats()
            else:
                self._add_mesh(glb_of(asset))

    def _draw_splats(self) -> None:
        wanted = self.opacity.value, self.size.value
        # A slider that is dragged calls many times, one after the other; the first to come here has the newest values already.
        if self._gaussians is None or wanted == self._drawn:
            return
        self._drawn, arrays = wanted, sent(self._gaussians, *wanted)
        if self._node is None:
            self._node = self.server.scene.add_gaussian_splats(OBJECT, **arrays, scale=1 / UNITS)
        else:
            self._node.set_gaussians(**arrays)

    def _redraw(self) -> None:
        with self._lock:
            self._draw_splats()

    def _add_mesh(self, glb: bytes) -> None:
        turn, scale = (
            viser.transforms.SO3.from_matrix(np.array(WORLD_TO_GLTF).T).wxyz,
            1 / self.place.radius,
        )
        self._node = self.server.scene.add_glb(
            OBJECT, glb, scale=scale, wxyz=turn, position=-scale * self.place.center
        )

    def add_frusta(self, label: str, cameras: Iterable[Cameras]) -> None:
        """A box to tick that shows where `cameras` are, of an object in the unit sphere."""
        self.frusta = [
            frustum
            for i, group in enumerate(cameras)
            for frustum in self._frusta(f"/cameras/{i}", group)
        ]
        self.shows_frusta = self.server.gui.add_checkbox(label, False)

        @self.shows_frusta.on_update
        def _(event: viser.GuiEvent) -> None:
            for frustum in self.frusta:
                frustum.visible = event.target.value

    def _frusta(self, place: str, cameras: Cameras) -> list[viser.CameraFrustumHandle]:
        poses = np.linalg.inv(cameras.world_to_camera.double().numpy())
        fovy = 2 * np.arctan(0.5 * cameras.height / cameras.intrinsics[:, 1, 1].double().numpy())
        return [
            self.server.scene.add_camera_frustum(
                f"{place}/{i}",
                float(angle),
                cameras.width / cameras.height,
                scale=FRUSTUM_SIZE,
                wxyz=viser.transforms.SO3.from_matrix(pose[:3, :3]).wxyz,
                position=pose[:3, 3],
                visible=False,
            )
            for i, (pose, angle) in enumerate(zip(poses, fovy, strict=True))
        ]

    def notify(self, title: str, text: str) -> None:
        """A note in every browser, until it is closed."""
        for client in self.server.get_clients().values():
            client.add_notification(title, text, color="red")

    def _look_from(self, event: viser.GuiEvent) -> None:
        for client in [event.client] if event.client else self.server.get_clients().values():
            with client.atomic():
                client.camera.position = position_of(event.target.value)
                client.camera.look_at = (0.0, 0.0, 0.0)
                client.camera.up_direction = UP

    def _paint_background(self) -> None:
        self.server.scene.set_background_image(
            np.full((2, 2, 3), self.background.value, np.uint8), format="png"
        )

    def _save_picture(self, event: viser.GuiEvent) -> None:
        """Through the browser: whoever looks may sit at another machine."""
        client, data = event.client, io.BytesIO()
        try:
            shot = client.get_render(
                client.camera.image_height,
                client.camera.image_width,
                transport_format="png",
                timeout=PICTURE_S,
            )
        except (RuntimeError, TimeoutError) as error:
            client.add_notification("No picture", str(error))
            return
        Image.fromarray(shot[..., :3]).save(data, format="PNG")
        client.send_file_download(f"{self.name}.png", data.getvalue(), save_immediately=True)

    def close(self) -> None:
        """End the server, and with it what browsers see."""
        with _quiet():
            self.server.stop()


@contextlib.contextmanager
def _quiet():
    """Without viser's own lines on standard output, which no option silences."""
    rich.get_console()  # made here, with the terminal in place, for all who share it
    with contextlib.redirect_stdout(io.StringIO()):
        yield

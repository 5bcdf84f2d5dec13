"""Controls of a panel, known by their names, and the line under them that tells errors.

This file imports ipywidgets and ipycanvas: where they are missing it says what to
install, and the other files take them from here.

    controls = Controls()
    box = controls.row(radius=slider(0.5, 12, 2.0, text="radius"))
    controls.on_change(radius=draw)
    controls.value("radius")

Read on: `painter`, whose panel these are.
"""

import html
from collections.abc import Callable
from typing import Any

from ..errors import PomkitError

try:
    import ipywidgets as ui
    from ipycanvas import Canvas as Canvas
    from ipycanvas import MultiCanvas as MultiCanvas
    from ipycanvas.canvas import _CANVAS_MANAGER as _CANVAS_MANAGER
    from IPython import get_ipython as get_ipython
    from IPython.display import display as display
except ImportError as fault:
    raise PomkitError(
        f"the painter and the studio need ipywidgets and ipycanvas ({fault}); "
        "run: pip install 'pomkit[widgets]'"
    ) from fault

# The looks of a setting.
WIDE = {"layout": {"width": "275px"}, "style": {"description_width": "85px"}}


class Controls(dict[str, Any]):
    """The widgets of a panel by their names, and `message`, the line for texts and errors."""

    def __init__(self) -> None:
        super().__init__()
        self.message = ui.HTML()
        self.tells_error = False

    def row(self, **controls: Any) -> Any:
        """A row of controls, from now on known by their names."""
        self.update(controls)
        for control in controls.values():
            usual = "160px" if isinstance(control, ui.Dropdown) else "auto"
            control.layout.width = control.layout.width or usual
        return ui.HBox([*controls.values()], layout={"flex_flow": "row wrap"})

    def button(
        self, act: Callable[[], Any], text: str, icon: str = "", tip: str = "", **more: Any
    ) -> Any:
        """A button that does something.

        Args:
            act: what it does; its errors are told.
            text: on the button.
            icon: a name of Font Awesome.
            tip: its tooltip.
            more: for `ipywidgets.Button`.
        """
        button = ui.Button(description=text, icon=icon, tooltip=tip, **more)
        button.on_click(self.guarded(lambda _: act()))
        return button

    def on_change(self, **acts: Callable[[], Any]) -> None:
        """Let something be done when a control is set."""
        for name, act in acts.items():
            self[name].observe(self.guarded(lambda _, act=act: act()), "value")

    def value(self, name: str) -> Any:
        """What a control is set to."""
        return self[name].value

    def guarded(self, act: Callable[..., Any]) -> Callable[..., None]:
        """`act`, its errors told: a front end's callbacks have no other place for them."""

        def call(*arguments: Any) -> None:
            try:
                act(*arguments)
            except Exception as fault:
                self.tell(fault)

        return call

    def tell(self, what: str | Exception) -> None:
        """Show a text or an error."""
        known = isinstance(what, str | PomkitError)
        text = html.escape(f"{what}" if known else f"{type(what).__name__}: {what}")
        self.tells_error = isinstance(what, Exception)
        style = '<b style="color: #c5221f">{}</b>' if self.tells_error else "{}"
        self.message.value = style.format(text)

    def forget_error(self) -> None:
        """Show no error any more, for what was done since is right."""
        if self.tells_error:
            self.tell("")


def slider(low: float, high: float, value: float, *, text: str, tip: str = "") -> Any:
    """A slider, in steps of 0.1 where `value` is a float, else of 1.

    Args:
        low: its lowest value.
        high: its highest value.
        value: at first.
        text: before it.
        tip: its tooltip.
    """
    kind = ui.FloatSlider if isinstance(value, float) else ui.IntSlider
    return kind(min=low, max=high, value=value, description=text, tooltip=tip, **WIDE)

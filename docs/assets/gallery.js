// Pictures of the gallery become pages in place, of which at most four are open: browsers have room
// for few WebGL canvases. Without this script they are links.
(() => {
  const MOST = 4;
  const opened = [];

  function close(frame) {
    frame.replaceWith(frame.picture);
  }

  function open(picture) {
    const frame = document.createElement("iframe");
    const dark = document.body.dataset.mdColorScheme === "slate";
    frame.src = `${picture.href}${dark ? "#background=2" : ""}`;
    frame.title = picture.firstElementChild.alt;
    frame.picture = picture;
    frame.addEventListener("load", () => frame.focus());
    picture.replaceWith(frame);
    opened.push(frame);
    if (opened.length > MOST) close(opened.shift());
  }

  for (const picture of document.querySelectorAll("a.object")) {
    picture.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // in a tab of its own
      event.preventDefault();
      open(picture);
    });
  }
})();

// Looks at the report in the frame, from outside: the report's own policy lets no script run inside.
const frame = document.querySelector("iframe");
const problems = [];

function settled(element, done, events) {
  if (done(element)) return Promise.resolve();
  return new Promise((resolve) => events.forEach((name) => element.addEventListener(name, resolve)));
}

function inside(shape, svg) {
  const box = shape.getBoundingClientRect(), view = svg.getBoundingClientRect(), slack = 1;
  return box.left >= view.left - slack && box.top >= view.top - slack &&
    box.right <= view.right + slack && box.bottom <= view.bottom + slack;
}

async function look() {
  const page = frame.contentDocument, all = (selector) => [...page.querySelectorAll(selector)];
  all("details").forEach((details) => { details.open = true; });
  const images = all("img"), sounds = all("audio"), drawings = all("svg");
  await Promise.all(images.map((image) => settled(image, (i) => i.complete, ["load", "error"])));
  await Promise.all(sounds.map((sound) => settled(sound, (s) => s.readyState > 0, ["loadedmetadata", "error"])));
  for (const svg of drawings) {
    const shapes = [...svg.querySelectorAll("path, rect, text")];
    if (!shapes.length) problems.push("an empty drawing");
    for (const shape of shapes) if (!inside(shape, svg)) problems.push("outside: " + shape.outerHTML);
  }
  const wide = all("body *").filter((e) => e.getBoundingClientRect().right > page.documentElement.clientWidth + 1 &&
    !e.closest(".scrolled"));
  return {
    width: frame.contentWindow.innerWidth,
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    wide: wide.map((e) => e.tagName + "." + e.className),
    title: page.title,
    images: images.map((i) => [i.naturalWidth, i.naturalHeight]),
    sounds: sounds.map((s) => s.duration),
    drawings: drawings.length,
    shapes: all("svg path, svg rect").length,
    unreachable: all(".scrolled").filter((e) => e.tabIndex < 0 || !e.getAttribute("aria-label")).length,
    sticky: all("td, thead th").filter((e) => getComputedStyle(e).position === "sticky").length,
    clipped: all(".scrolled").filter((e) => e.scrollWidth > e.clientWidth && getComputedStyle(e).overflowX !== "auto").length,
    captions: all("caption").filter((e) => e.getBoundingClientRect().right > page.documentElement.clientWidth).length,
    colours: [getComputedStyle(page.body).color, getComputedStyle(page.body).backgroundColor],
    problems,
  };
}

frame.addEventListener("load", () => look().then(
  (found) => { document.documentElement.dataset.found = JSON.stringify(found); },
  (error) => { document.documentElement.dataset.found = JSON.stringify({ problems: [String(error)] }); },
));

/* Pictures side by side: a row for each prompt and seed, a column for each model. The wheel with Ctrl, a drag and the
   buttons move all of them together, so that the same place is compared; a click opens a picture. Texts are set as text,
   never as HTML. */

const MOST = 16
const PLACES = new WeakMap()

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".compare")
  const drawn = JSON.stringify(data)
  if (root.drawn === drawn) return
  root.drawn = drawn
  if (!PLACES.has(root)) PLACES.set(root, { scale: 1, x: 0, y: 0 })
  const place = PLACES.get(root)
  root.replaceChildren(createBar(root, place), createGrid(root, data, place, (id) => setTriggerValue("open", id)))
  apply(root, place)
}

function createBar(root, place) {
  const bar = element("div", "bar")
  bar.append(element("span", "hint", "Ctrl and the wheel zoom all pictures together, dragging moves them."))
  const button = (text, label, act) => {
    const made = element("button", "", text)
    made.setAttribute("aria-label", label)
    made.addEventListener("click", () => {
      act()
      apply(root, place)
    })
    bar.append(made)
    return made
  }
  button("−", "Zoom out", () => zoom(place, 1 / 1.5, 0.5, 0.5))
  button("100 %", "Whole pictures", () => Object.assign(place, { scale: 1, x: 0, y: 0 })).className = "scale"
  button("+", "Zoom in", () => zoom(place, 1.5, 0.5, 0.5))
  return bar
}

function createGrid(root, data, place, open) {
  const scroll = element("div", "scroll")
  const grid = element("div", "grid")
  const columns = data.flow ? `repeat(auto-fill, minmax(min(${data.cell}rem, 100%), 1fr))` : data.columns.length
  grid.style.gridTemplateColumns = data.flow ? columns : `repeat(${columns}, minmax(${data.cell * 0.6}rem, 1fr))`
  if (!data.flow) grid.append(...data.columns.map((text) => element("div", "head", text)))
  data.rows.forEach((row) => {
    if (row.label) grid.append(element("div", "row", row.label))
    row.cells.forEach((cell) => grid.append(createCell(root, cell, place, open)))
  })
  scroll.append(grid)
  return scroll
}

function createCell(root, cell, place, open) {
  const figure = document.createElement("figure")
  if (!cell) {
    figure.append(element("div", "cell missing", ""))
    return figure
  }
  const button = element("button", "cell")
  button.title = cell.text
  const picture = document.createElement("img")
  picture.alt = cell.text || "Picture"
  picture.loading = "lazy"
  picture.width = cell.width
  picture.height = cell.height
  picture.classList.toggle("tiny", cell.width <= 192)
  picture.src = cell.src
  button.append(picture)
  move(root, button, place, () => open(cell.id))
  figure.append(button)
  if (cell.note) figure.append(element("figcaption", "", cell.note))
  return figure
}

function move(root, button, place, open) {
  let from = null
  let moved = false
  const share = (event) => {
    const box = button.getBoundingClientRect()
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]
  }
  button.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return
    event.preventDefault()
    zoom(place, event.deltaY < 0 ? 1.2 : 1 / 1.2, ...share(event))
    apply(root, place)
  }, { passive: false })
  button.addEventListener("pointerdown", (event) => {
    from = share(event)
    moved = false
  })
  button.addEventListener("pointermove", (event) => {
    if (!from || !event.buttons || place.scale === 1) return
    const now = share(event)
    place.x += now[0] - from[0]
    place.y += now[1] - from[1]
    from = now
    moved = true
    hold(place)
    apply(root, place)
  })
  button.addEventListener("click", () => {
    if (!moved) open()
    from = null
  })
}

/* The picture's point under (x, y), in shares of the cell, stays where it is. */
function zoom(place, factor, x, y) {
  const scale = Math.min(MOST, Math.max(1, place.scale * factor))
  const ratio = scale / place.scale
  Object.assign(place, { scale, x: x - (x - place.x) * ratio, y: y - (y - place.y) * ratio })
  hold(place)
}

function hold(place) {
  const least = 1 - place.scale
  place.x = Math.min(0, Math.max(least, place.x))
  place.y = Math.min(0, Math.max(least, place.y))
}

function apply(root, place) {
  const change = `translate(${place.x * 100}%, ${place.y * 100}%) scale(${place.scale})`
  root.querySelectorAll("img").forEach((picture) => { picture.style.transform = change })
  root.querySelector(".scale").textContent = `${Math.round(place.scale * 100)} %`
}

function element(tag, className, text = "") {
  const made = document.createElement(tag)
  made.className = className
  made.dir = "auto"
  made.textContent = text
  return made
}

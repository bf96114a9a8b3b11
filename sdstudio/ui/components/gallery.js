/* Pictures in a grid; those put behind the others are added to it. Texts are set as text, never as HTML; a click sends the picture's id. With `selected` each cell has
   a box to choose it; shift chooses all from the last one. */

export default function ({ data, parentElement, setTriggerValue, setStateValue }) {
  const gallery = parentElement.querySelector(".gallery")
  gallery.style.setProperty("--cell", `${data.cell}rem`)
  gallery.classList.toggle("one-row", data.one_row)
  if (data.selected && gallery.revision !== data.revision) {
    gallery.revision = data.revision
    gallery.selected = new Set(data.selected)
    gallery.querySelectorAll(".cell").forEach((cell) => mark(cell, gallery.selected.has(cell.dataset.id)))
  }
  watchEnd(gallery, data.more && data.items.length, (shown) => setTriggerValue("more", shown))
  const drawn = data.items.map((item) => JSON.stringify([item, data.clickable]))
  const same = (gallery.drawn || []).filter((cell, place) => cell === drawn[place]).length
  if (same === drawn.length && same === gallery.drawn?.length) return
  const appended = same > 0 && same === gallery.drawn.length
  gallery.drawn = drawn
  const open = data.clickable && ((id) => setTriggerValue("open", id))
  const select = data.selected && createSelect(gallery, (ids) => setStateValue("selected", ids))
  const cells = data.items.slice(appended ? same : 0).map((item) => createCell(item, open, select, gallery.selected))
  if (appended) gallery.append(...cells)
  else gallery.replaceChildren(...cells)
}

/* Says `shown` once when the end of so many pictures comes within two windows of the one that is seen. */
function watchEnd(gallery, shown, say) {
  if (gallery.shown === shown) return
  gallery.shown = shown
  gallery.watcher?.disconnect()
  if (!shown) return
  gallery.watcher = new IntersectionObserver((seen) => {
    if (!seen.some((entry) => entry.isIntersecting)) return
    gallery.watcher.disconnect()
    say(shown)
  }, { rootMargin: "0px 0px 200% 0px" })
  requestAnimationFrame(() => gallery.lastElementChild && gallery.watcher.observe(gallery.lastElementChild))
}

function createSelect(gallery, send) {
  let last = ""
  return (id, wanted, range) => {
    const cells = [...gallery.querySelectorAll(".cell")]
    const places = [last, id].map((one) => cells.findIndex((cell) => cell.dataset.id === one))
    const [from, to] = range && places[0] >= 0 ? places.sort((one, other) => one - other) : [places[1], places[1]]
    cells.slice(from, to + 1).forEach((cell) => {
      if (wanted) gallery.selected.add(cell.dataset.id)
      else gallery.selected.delete(cell.dataset.id)
      mark(cell, wanted)
    })
    last = id
    send([...gallery.selected])
  }
}

function mark(cell, chosen) {
  cell.classList.toggle("chosen", chosen)
  const box = cell.parentElement?.querySelector?.(`input[data-id="${cell.dataset.id}"]`)
  if (box) box.checked = chosen
}

function createCell(item, open, select, selected) {
  const cell = document.createElement(open ? "button" : "figure")
  cell.className = item.current ? "cell current" : "cell"
  cell.dataset.id = item.id
  if (open) cell.addEventListener("click", () => open(item.id))
  const picture = document.createElement("img")
  picture.loading = "lazy"
  picture.alt = item.text === null ? "Picture" : ""  // the line below it says the same
  picture.addEventListener("load", () => picture.classList.toggle("tiny", picture.naturalWidth <= 128))
  picture.src = item.src
  cell.append(picture)
  if (item.text !== null) cell.append(line(item.text || "no caption", item.text ? "text" : "text empty"))
  if (item.note) cell.append(line(item.note, item.done ? "note done" : "note"))
  if (item.text) cell.title = item.text
  return select ? withBox(cell, item, select, selected.has(item.id)) : cell
}

function withBox(cell, item, select, chosen) {
  const place = document.createElement("div")
  place.className = "place"
  const box = document.createElement("input")
  box.type = "checkbox"
  box.dataset.id = item.id
  box.setAttribute("aria-label", `Select this picture: ${item.text || "no caption"}`)
  box.addEventListener("click", (event) => select(item.id, box.checked, event.shiftKey))
  place.append(cell, box)
  box.checked = chosen
  cell.classList.toggle("chosen", chosen)
  return place
}

function line(text, className) {
  const element = document.createElement("span")
  element.className = className
  element.dir = "auto"
  element.textContent = text
  return element
}

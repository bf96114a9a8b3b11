/* Pictures in a grid. Texts are set as text, never as HTML; a click sends the picture's id. */

export default function ({ data, parentElement, setTriggerValue }) {
  const gallery = parentElement.querySelector(".gallery")
  gallery.style.setProperty("--cell", `${data.cell}rem`)
  gallery.classList.toggle("one-row", data.one_row)
  const drawn = JSON.stringify(data)
  if (gallery.drawn === drawn) return
  gallery.drawn = drawn
  gallery.replaceChildren(...data.items.map((item) => createCell(item, data.clickable && (() => setTriggerValue("open", item.id)))))
}

function createCell(item, open) {
  const cell = document.createElement(open ? "button" : "figure")
  cell.className = item.current ? "cell current" : "cell"
  if (open) cell.addEventListener("click", open)
  const picture = document.createElement("img")
  picture.loading = "lazy"
  picture.alt = item.text || "Picture"
  picture.addEventListener("load", () => picture.classList.toggle("tiny", picture.naturalWidth <= 128))
  picture.src = item.src
  cell.append(picture)
  if (item.text !== null) cell.append(line(item.text || "no caption", item.text ? "text" : "text empty"))
  if (item.note) cell.append(line(item.note, item.done ? "note done" : "note"))
  if (item.text) cell.title = item.text
  return cell
}

function line(text, className) {
  const element = document.createElement("span")
  element.className = className
  element.textContent = text
  return element
}

/* A picture to paint a mask on: what is painted is drawn anew. The mask, white on black in the picture's own size (at most
   MOST pixels a side), is sent after each stroke as a PNG; `data.base` is the address of a mask to go on from. */

const MOST = 1024
const PAINT = "rgb(255, 255, 255)"
const MADE = new WeakMap()

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".mask")
  const made = MADE.get(root)
  if (made?.src === data.src) return
  made?.forget()
  MADE.set(root, create(root, data, (mask) => setStateValue("mask", mask)))
}

function create(root, data, send) {
  const sheet = document.createElement("canvas")
  const picture = new Image()
  const strokes = []
  let base = null
  let size = 0.12
  let erase = false
  let live = true

  const brush = slider("Brush", size, (value) => { size = value })
  const eraser = button("Erase", () => {
    erase = !erase
    eraser.setAttribute("aria-pressed", String(erase))
  })
  eraser.setAttribute("aria-pressed", "false")
  const undo = button("Undo", () => {
    if (strokes.length) strokes.pop()
    else base = null
    redraw()
    tell()
  })
  const clear = button("Clear", () => {
    strokes.length = 0
    base = null
    redraw()
    tell()
  })
  const bar = document.createElement("div")
  bar.className = "bar"
  bar.append(brush, eraser, undo, clear)
  const stage = document.createElement("div")
  stage.className = "stage"
  stage.append(picture, sheet)
  root.replaceChildren(stage, bar)

  function redraw() {
    const pen = sheet.getContext("2d")
    pen.globalCompositeOperation = "source-over"
    pen.clearRect(0, 0, sheet.width, sheet.height)
    if (base) pen.drawImage(base, 0, 0, sheet.width, sheet.height)
    strokes.forEach((stroke) => drawStroke(pen, stroke, sheet))
    undo.disabled = clear.disabled = !strokes.length && !base
  }

  function tell() {
    if (!live) return
    if (!strokes.length && !base) {
      send("")
      return
    }
    const whole = document.createElement("canvas")
    whole.width = sheet.width
    whole.height = sheet.height
    const pen = whole.getContext("2d")
    pen.fillRect(0, 0, whole.width, whole.height)
    pen.drawImage(sheet, 0, 0)
    send(whole.toDataURL("image/png"))
  }

  picture.addEventListener("load", () => {
    const scale = Math.min(1, MOST / Math.max(picture.naturalWidth, picture.naturalHeight))
    sheet.width = Math.round(picture.naturalWidth * scale)
    sheet.height = Math.round(picture.naturalHeight * scale)
    picture.classList.toggle("tiny", picture.naturalWidth <= 192)
    if (!data.base) return redraw()
    const before = new Image()
    before.addEventListener("load", () => {
      base = whiteOnly(before)
      redraw()
    })
    before.src = data.base
  })
  picture.alt = "The picture to begin from"
  picture.draggable = false
  picture.src = data.src

  const at = (event) => {
    const box = sheet.getBoundingClientRect()
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]
  }
  sheet.addEventListener("pointerdown", (event) => {
    sheet.setPointerCapture(event.pointerId)
    strokes.push({ size, erase, points: [at(event)] })
    redraw()
  })
  sheet.addEventListener("pointermove", (event) => {
    if (!event.buttons || !strokes.length || !sheet.hasPointerCapture(event.pointerId)) return
    strokes.at(-1).points.push(at(event))
    redraw()
  })
  sheet.addEventListener("pointerup", (event) => {
    if (sheet.hasPointerCapture(event.pointerId)) tell()
  })
  return { src: data.src, forget: () => { live = false } }
}

function drawStroke(pen, stroke, sheet) {
  const [width, height] = [sheet.width, sheet.height]
  pen.globalCompositeOperation = stroke.erase ? "destination-out" : "source-over"
  pen.strokeStyle = pen.fillStyle = PAINT
  pen.lineCap = pen.lineJoin = "round"
  pen.lineWidth = stroke.size * Math.min(width, height)
  pen.beginPath()
  stroke.points.forEach(([x, y], place) => {
    if (place) pen.lineTo(x * width, y * height)
    else pen.moveTo(x * width, y * height)
  })
  if (stroke.points.length === 1) {
    const [x, y] = stroke.points[0]
    pen.arc(x * width, y * height, pen.lineWidth / 2, 0, 2 * Math.PI)
    pen.fill()
  } else pen.stroke()
}

/* A mask's white, the rest clear. */
function whiteOnly(mask) {
  const canvas = document.createElement("canvas")
  canvas.width = mask.naturalWidth
  canvas.height = mask.naturalHeight
  const pen = canvas.getContext("2d")
  pen.drawImage(mask, 0, 0)
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height)
  for (let place = 0; place < pixels.data.length; place += 4) pixels.data[place + 3] = pixels.data[place]
  pen.putImageData(pixels, 0, 0)
  return canvas
}

function button(text, act) {
  const made = document.createElement("button")
  made.type = "button"
  made.textContent = text
  made.addEventListener("click", act)
  return made
}

function slider(text, value, change) {
  const label = document.createElement("label")
  const input = document.createElement("input")
  Object.assign(input, { type: "range", min: "0.02", max: "0.5", step: "0.01", value: String(value) })
  input.addEventListener("input", () => change(Number(input.value)))
  label.append(text, input)
  return label
}

/* One picture, or two, and a key for each answer. The studio hands over the next tasks, so that an answer moves on at
   once; every press carries a name of its own and is sent until the studio has answered that it is on disk, and counts
   there once. Pictures have addresses that do not tell the model. */

const AHEAD = 24 // pictures that are fetched before they are needed
const ANSWER_MS = 8000
const TINY = 192

export default function ({ data, parentElement, setTriggerValue, setStateValue }) {
  if (!parentElement.ratingRoom) {
    parentElement.ratingRoom = createRoom(parentElement)
    // Without a state value of its own the component is forgotten on a change of page before its last message is read.
    setStateValue("mounted", true)
  }
  parentElement.ratingRoom.send = (message) => setTriggerValue("action", message)
  parentElement.ratingRoom.receive(data)
}

function createRoom(root) {
  const find = (selector) => root.querySelector(selector)
  const room = { send: null, receive: null }
  const frames = new Map()
  let data = null
  let upcoming = [] // tasks without an answer, in their order
  let queue = [] // presses that are not known to be on disk
  let history = [] // answers of this tab, to be taken back
  let number = Date.now()
  let flight = null // the message under way
  let ask = "" // what to ask for once all presses are on disk
  let leave = null // a click that waits until they are

  // ------------------------------------------------------------ to the studio

  const flush = () => {
    if (flight) return
    if (!queue.length && !ask && upcoming.length) return settled()
    if (!queue.length && !ask && data.answered >= data.total) return settled()
    number += 1
    const presses = queue.map(({ id, task, answer, undoes }) => ({ id, task: undoes ? "" : task, answer, undoes }))
    flight = { message: { session: data.session, number, presses, ask: queue.length ? "" : ask }, timer: 0 }
    post()
  }

  const post = () => {
    room.send(flight.message)
    flight.timer = setTimeout(() => {
      say("The studio does not answer. Your answers are kept here and sent again.", true)
      if (root.isConnected) post()
    }, ANSWER_MS)
  }

  const settled = () => {
    const go = leave
    leave = null
    go?.()
  }

  // ------------------------------------------------------------ from the studio

  room.receive = (fresh) => {
    if (data?.session !== fresh.session) reset()
    const answered = flight && fresh.answer?.number === flight.message.number
    if (answered) {
      clearTimeout(flight.timer)
      const sent = new Set(flight.message.presses.map((press) => press.id))
      queue = fresh.answer.error ? [] : queue.filter((press) => !sent.has(press.id))
      if (flight.message.ask === ask) ask = ""
      flight = null
    }
    data = fresh
    upcoming = [...fresh.upcoming]
    queue.forEach(apply)
    if (answered) say(fresh.answer.error || (queue.length ? "Saving…" : "Saved"), Boolean(fresh.answer.error))
    draw()
    if (answered) flush()
  }

  const reset = () => {
    clearTimeout(flight?.timer)
    frames.clear()
    queue = []
    history = []
    flight = null
    ask = ""
  }

  const apply = (press) => {
    upcoming = upcoming.filter((task) => task !== press.task)
    if (press.undoes) upcoming.unshift(press.task)
  }

  const balance = () => queue.reduce((sum, press) => sum + (press.undoes ? -1 : 1), 0)

  // ------------------------------------------------------------ what is shown

  const say = (text, bad = false) => {
    find(".status").textContent = text
    find(".status").classList.toggle("bad", bad)
  }

  const frameOf = (task) => {
    if (frames.has(task)) return frames.get(task)
    const figures = Array.from({ length: data.beside }, (_, side) => {
      const figure = document.createElement("figure")
      const picture = new Image()
      picture.alt = data.beside > 1 ? ["Left picture", "Right picture"][side] : "The picture to rate"
      picture.addEventListener("load", () => {
        picture.classList.toggle("tiny", picture.naturalWidth <= TINY)
        if (upcoming[0] === task) drawReady()
      })
      picture.addEventListener("error", () => upcoming[0] === task && say("This picture could not be loaded.", true))
      picture.src = `${data.pictures}/${task}/${side}`
      figure.append(picture)
      return figure
    })
    frames.set(task, figures)
    return figures
  }

  const isSeen = (task) => frameOf(task).every(({ firstChild }) => firstChild.complete && firstChild.naturalWidth)

  const drawReady = () => {
    const ready = Boolean(upcoming.length) && isSeen(upcoming[0])
    find(".stage").dataset.ready = ready
    root.querySelectorAll(".answers button").forEach((button) => { button.disabled = !ready })
  }

  const draw = () => {
    const [task] = upcoming
    const count = data.answered + balance()
    const over = !task && count >= data.total
    find(".question").textContent = data.question
    find(".count").textContent = `${count.toLocaleString("en")} of ${data.total.toLocaleString("en")}`
    find(".bar").setAttribute("aria-valuemax", data.total)
    find(".bar").setAttribute("aria-valuenow", count)
    find(".bar i").style.width = `${(100 * count) / data.total}%`
    find(".stage").hidden = !task
    find(".stage").dataset.task = task ?? ""
    find(".wait").hidden = Boolean(task) || over
    find(".over").hidden = !over
    find(".answers").hidden = !task
    find('[data-do="undo"]').disabled = !(history.length || data.last)
    drawAnswers()
    drawSure(false)
    if (!task) return
    const figures = frameOf(task)
    if (find(".stage").firstChild !== figures[0]) find(".stage").replaceChildren(...figures)
    upcoming.slice(1, AHEAD).forEach(frameOf)
    const near = new Set(upcoming.slice(0, 2 * AHEAD).concat(history.slice(-AHEAD).map((one) => one.task)))
    frames.forEach((_, known) => near.has(known) || frames.delete(known))
    drawReady()
  }

  const drawAnswers = () => {
    const place = find(".answers")
    if (place.dataset.session === data.session) return
    place.dataset.session = data.session
    place.replaceChildren(...data.answers.map(({ key, answer, label }) => {
      const button = document.createElement("button")
      button.dataset.answer = answer
      button.textContent = label
      const hint = document.createElement("kbd")
      hint.textContent = key
      button.append(" ", hint)
      return button
    }))
  }

  const drawSure = (asked) => {
    const left = data.total - data.answered - balance()
    find(".sure").hidden = !asked
    find('[data-do="end"]').hidden = asked
    find(".sure-text").textContent = `${left.toLocaleString("en")} are left; you cannot come back to them.`
  }

  // ------------------------------------------------------------ what a person does

  const take = (press) => {
    queue.push({ id: crypto.randomUUID(), answer: "", undoes: "", ...press })
    apply(queue.at(-1))
    say("")
    draw()
    flush()
    return queue.at(-1)
  }

  const rate = (answer) => {
    const [task] = upcoming
    if (!task || ask || !isSeen(task)) return
    history.push(take({ task, answer }))
  }

  const undo = () => {
    const last = history.pop() ?? (queue.length || flight ? null : data.last)
    if (last && !ask) take({ task: last.task, undoes: last.id })
  }

  const request = (what) => {
    ask = what
    flush()
  }

  const actions = {
    undo,
    pause: () => request("pause"),
    end: () => (data.answered + balance() < data.total ? drawSure(true) : request("end")),
    "end-now": () => request("end"),
    "go-on": () => drawSure(false),
  }

  root.addEventListener("click", (event) => {
    const button = event.target.closest("button")
    if (!button) return
    if (button.dataset.answer) rate(button.dataset.answer)
    else actions[button.dataset.do]()
    button.blur()
  })

  const onKey = (event) => {
    if (!root.isConnected) return window.removeEventListener("keydown", onKey, true)
    const [target] = event.composedPath()
    if (event.repeat || !data || target.matches?.("input, textarea, select, [contenteditable], [role=combobox]")) return
    const control = event.ctrlKey || event.metaKey
    const chosen = !control && !event.altKey && data.answers.find(({ key }) => key === event.key)
    if (chosen) rate(chosen.answer)
    else if ((control && event.key.toLowerCase() === "z") || event.key === "Backspace") undo()
    else return
    event.preventDefault()
    event.stopPropagation()
  }
  window.addEventListener("keydown", onKey, true)
  window.addEventListener("beforeunload", (event) => {
    if (root.isConnected && (queue.length || flight)) event.preventDefault()
  })
  window.addEventListener("click", (event) => {
    // A click that leaves while an answer is under way waits for it: Streamlit may drop one of two requests.
    const path = event.composedPath()
    const leaving = path.includes(root) ? null : path.find((element) => element.matches?.("a, button"))
    if (!leaving || !root.isConnected || !(queue.length || flight)) return
    event.preventDefault()
    event.stopImmediatePropagation()
    leave = () => leaving.click()
  }, true)
  return room
}

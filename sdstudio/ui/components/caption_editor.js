/* One caption box for many pictures. The studio hands over the pictures around the shown one, so that save-and-next
   moves at once; what a person wrote stays with the id and version of its own picture, and is sent until the studio has
   answered that it is on disk. One message is under way at a time. */

const IDLE_MS = 1200
const HASTE = 4 // who passed ten pictures while one message was under way may pass forty during the next
const KEPT = 400
const ANSWER_MS = 8000

export default function ({ data, parentElement, setTriggerValue, setStateValue }) {
  if (!parentElement.captionEditor) {
    parentElement.captionEditor = createEditor(parentElement)
    // Without a state value of its own the component is forgotten on a change of page before its last message is read.
    setStateValue("mounted", true)
  }
  parentElement.captionEditor.send = (message) => setTriggerValue("action", message)
  parentElement.captionEditor.receive(data)
}

function createEditor(root) {
  const view = createView(root)
  const { box, find, say } = view
  const records = new Map()
  const editor = { send: null, receive: null }
  let data = null
  let list = [] // ids in the person's order
  let place = 0
  let number = Date.now()
  let flight = null // the message under way
  let ask = null // what to ask for with the next message
  let leave = null // a click that waits until all is saved
  let idle = 0
  let passed = 0 // pictures since the last message, backwards below 0

  const current = () => records.get(list[place])
  const dirty = (record) => record.text !== record.saved || (record.approve && record.state !== "approved")
  const unsent = () => [...records.values()].filter((record) => dirty(record) && !record.conflict && !record.error)
  const stuck = () => [...records.values()].filter((record) => record.conflict || record.error)

  // ------------------------------------------------------------ to the studio

  const flush = () => {
    clearTimeout(idle)
    if (flight || !data) return
    const edits = unsent().map(({ id, version, text, approve }) => ({ id, version, caption: text, approve }))
    if (!edits.length && !ask && current().id === data.shows) return settled()
    number += 1
    const { kind = "", id = "", version = 0, to = 0 } = ask ?? {}
    const asked = { ask: kind, id, version, place: to, reach: HASTE * passed }
    const message = { dataset: data.dataset, number, shows: current().id, edits, ...asked }
    flight = { message, timer: 0 }
    ask = null
    passed = 0
    if (edits.length) say("Saving…")
    post()
  }

  const post = () => {
    editor.send(flight.message)
    flight.timer = setTimeout(() => {
      const words = flight.message.edits.length ? "Your words are not saved yet; they are kept here and sent again." : ""
      say(`The studio does not answer. ${words}`, true)
      if (box.isConnected) post()
    }, ANSWER_MS)
  }

  const request = (kind, more = {}) => {
    if (ask || flight?.message.ask) return
    ask = { kind, id: current().id, version: current().version, ...more }
    box.readOnly = true
    flush()
  }

  const settled = () => {
    if (!leave || unsent().length) return
    const go = leave
    leave = null
    go()
  }

  // ------------------------------------------------------------ from the studio

  editor.receive = (fresh) => {
    const answered = flight && fresh.answer?.number === flight.message.number ? flight : null
    const moved = !data || data.dataset !== fresh.dataset || Boolean(answered?.message.ask)
    if (data && data.dataset !== fresh.dataset) records.clear()
    const before = data && !moved ? current().id : ""
    if (answered) settle(answered, fresh.answer)
    data = fresh
    fresh.records.forEach(take)
    arrange(fresh, moved || (!flight && !answered && before !== fresh.shows) ? fresh.shows : before)
    draw(answered ? fresh.answer : null)
    if (answered) flush()
  }

  const settle = (answered, answer) => {
    clearTimeout(answered.timer)
    flight = null
    box.readOnly = false
    answer.outcomes.forEach((outcome) => {
      const record = records.get(outcome.id)
      const sent = answered.message.edits.find((edit) => edit.id === outcome.id)
      if (!record || !sent) return
      if (outcome.conflict) record.conflict = { caption: outcome.theirs, version: outcome.version }
      else if (outcome.error) record.error = outcome.error
      else Object.assign(record, { saved: sent.caption, version: outcome.version, state: outcome.state })
      if (sent.approve) record.approve = false
    })
    if (answer.outcomes.some((outcome) => outcome.conflict || outcome.error)) leave = null
  }

  const take = (stored) => {
    const record = records.get(stored.id)
    const words = { text: stored.caption, saved: stored.caption }
    if (!record) {
      records.set(stored.id, { approve: false, conflict: null, error: "", ...stored, ...words })
    } else if (!dirty(record) && !record.conflict) {
      Object.assign(record, stored, stored.version === record.version ? {} : words)
    } else {
      record.draft = stored.draft
    }
  }

  const arrange = (fresh, shown) => {
    const ids = fresh.records.map((record) => record.id)
    const kept = list.slice(0, Math.max(0, list.indexOf(shown)))
    const from = ids.indexOf(shown)
    if (from < 0) {
      place = list.indexOf(shown)
    } else {
      const gone = fresh.answer?.deleted
      const next = ids.slice(from)
      const past = [...ids.slice(0, from).filter((id) => !kept.includes(id)), ...kept].slice(-KEPT)
      list = [...past.filter((id) => id !== gone && !next.includes(id)), ...next]
      place = list.indexOf(shown)
    }
    const needed = new Set(list)
    records.forEach((record, id) => needed.has(id) || dirty(record) || record.conflict || records.delete(id))
  }

  const draw = (answer) => {
    view.show(current(), data)
    const from = list.indexOf(data.shows)
    view.place(data.index === null || from < 0 ? null : data.index + 1 + place - from, data.total)
    view.preload(list.slice(place + 1, place + 6).map((id) => records.get(id)))
    find(".restore").hidden = !answer?.deleted
    find(".restore").dataset.id = answer?.deleted ?? ""
    drawStuck()
    if (current().error) say(current().error, true)
    else if (answer?.error) say(answer.error, true)
    else if (answer?.note) say(answer.note)
    else if (answer?.outcomes.length && !unsent().length) say(answer.outcomes.some((one) => one.error) ? "" : "Saved")
  }

  const drawStuck = () => {
    const elsewhere = stuck().filter((record) => record !== current())
    find(".stuck").hidden = !elsewhere.length
    find(".stuck-text").textContent = elsewhere.length === 1 ? "One caption is not saved." : `${elsewhere.length} captions are not saved.`
    find(".stuck button").dataset.id = elsewhere[0]?.id ?? ""
  }

  // ------------------------------------------------------------ what a person does

  const edited = () => {
    const record = current()
    record.text = box.value
    record.error = ""
    view.words(record, data)
    view.state(record)
    say("Not saved yet")
    clearTimeout(idle)
    idle = setTimeout(flush, IDLE_MS)
  }

  const write = (text) => {
    box.value = text
    edited()
  }

  const move = (step) => {
    if (box.readOnly) return
    current().error = ""
    if (list[place + step] === undefined) return request(step > 0 ? "next" : "previous")
    place += step
    passed += step
    say("")
    draw(null)
    flush()
  }

  const open = (id) => {
    if (!list.includes(id)) list.splice(place, 0, id)
    place = list.indexOf(id)
    draw(null)
    flush()
  }

  const approveNext = () => {
    if (!current().text.trim()) return say("Write a caption before you approve it.", true)
    current().approve = true
    move(1)
  }

  const unreviewed = () => {
    if (box.readOnly) return
    const at = list.findIndex((id, index) => index > place && records.get(id).state === "not modified" && !dirty(records.get(id)))
    if (at > 0) move(at - place)
    else request("unreviewed")
  }

  const step = (kind) => {
    const record = current()
    if (record.text === record.saved) return request(kind)
    if (kind === "undo") {
      box.value = record.text = record.saved
      view.show(record, data)
      say("Your unsaved words were taken back")
    }
  }

  const nextSlot = () => {
    const slots = findSlots(box.value)
    const slot = slots.find(([start]) => start >= box.selectionEnd) ?? slots[0]
    if (slot) box.setSelectionRange(...slot)
    return Boolean(slot)
  }

  const actions = {
    save_next: () => move(1),
    approve_next: approveNext,
    previous: () => move(-1),
    next: () => move(1),
    unreviewed,
    undo: () => step("undo"),
    redo: () => step("redo"),
    exclude: () => request("exclude"),
    include: () => request("include"),
    delete: () => request("delete"),
    restore: (button) => request("restore", { id: button.dataset.id }),
    stuck: (button) => open(button.dataset.id),
    slot: nextSlot,
    "use-draft": () => write(current().draft),
    identifier: () => write(`${data.identifier}, ${box.value}`),
    template: () => {
      const words = box.value.trim()
      write(words ? `${words} ${data.template}` : data.template)
      box.setSelectionRange(0, 0)
      nextSlot()
    },
    mine: () => {
      current().version = current().conflict.version
      current().conflict = null
      view.state(current())
      flush()
    },
    theirs: () => {
      const { caption, version } = current().conflict
      Object.assign(current(), { text: caption, saved: caption, version, conflict: null })
      draw(null)
      say("Theirs is in the box")
    },
  }

  box.addEventListener("input", edited)
  box.addEventListener("blur", flush)
  find(".number").addEventListener("change", (event) => request("jump", { to: Math.round(Number(event.target.value)) || 1 }))
  root.addEventListener("keydown", (event) => {
    if (event.target === box && event.key === "Tab" && !event.shiftKey && nextSlot()) return event.preventDefault()
    if (event.target === find(".number")) return
    const action = keyAction(event, current().text !== current().saved)
    if (!action) return
    event.preventDefault()
    event.stopPropagation()
    actions[action]()
  })
  root.addEventListener("click", (event) => {
    const button = event.target.closest("button")
    if (!button) return
    actions[button.dataset.do ?? button.dataset.ask](button)
    box.focus()
  })
  window.addEventListener("beforeunload", (event) => {
    if (box.isConnected && (flight?.message.edits.length || unsent().length || stuck().length)) event.preventDefault()
  })
  window.addEventListener("click", (event) => {
    // A click that leaves while something is unsaved waits for the answer: Streamlit may drop one of two requests.
    const path = event.composedPath()
    const leaving = path.includes(root) ? null : path.find((element) => element.matches?.("a, button"))
    if (!leaving || !box.isConnected || !(flight || unsent().length)) return
    event.preventDefault()
    event.stopImmediatePropagation()
    leave = () => leaving.click()
    flush()
  }, true)
  return editor
}

function keyAction(event, unsaved) {
  const control = event.ctrlKey || event.metaKey
  const key = event.key.toLowerCase()
  if (control && key === "enter") return "save_next"
  if (event.altKey && key === "enter") return "approve_next"
  if ((event.altKey && key === "arrowleft") || (control && key === "arrowup")) return "previous"
  if ((event.altKey && key === "arrowright") || (control && key === "arrowdown")) return "next"
  if (control && key === "j") return "unreviewed"
  if (control && !unsaved && key === "z") return event.shiftKey ? "redo" : "undo"
  if (control && !unsaved && key === "y") return "redo"
  return null
}

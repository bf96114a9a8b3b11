/* One caption box. Every message names the picture and the version it was written for; the text is replaced only when
   the studio shows another picture, or another version while nothing unsaved is in the box. */

const IDLE_MS = 1500
const ANSWER_MS = 10000

export default function ({ data, parentElement, setTriggerValue, setStateValue }) {
  if (!parentElement.captionEditor) {
    parentElement.captionEditor = createEditor(parentElement)
    // Without a state value of its own the component is forgotten on a change of page before its last message is read.
    setStateValue("mounted", true)
  }
  parentElement.captionEditor.send = (message) => setTriggerValue("action", message)
  parentElement.captionEditor.show(data)
}

function createEditor(root) {
  const find = (selector) => root.querySelector(selector)
  const box = find("textarea")
  const editor = { data: null, version: 0, saved: "", pending: null, idle: 0, number: Date.now() }
  editor.waiting = null // an action asked for while another is being saved
  editor.leave = null // a click that waits until all is saved

  const dirty = () => editor.data !== null && box.value !== editor.saved
  const say = (text, bad = false) => {
    find(".status").textContent = text
    find(".status").classList.toggle("bad", bad)
  }
  const countWords = () => {
    const words = box.value.trim().split(/\s+/).filter(Boolean).length
    find(".words").textContent = words === 1 ? "1 word" : `${words} words`
  }
  const fill = (text, version) => {
    box.value = text
    editor.saved = text
    editor.version = version
    countWords()
  }

  const act = (action) => {
    clearTimeout(editor.idle)
    if (editor.pending) {
      if (!editor.pending.moves && action !== "save") editor.waiting = action
      return
    }
    const number = ++editor.number
    const { dataset, id } = editor.data
    const timer = setTimeout(() => {
      editor.pending = editor.waiting = editor.leave = null
      box.readOnly = false
      say("Not saved yet: the studio does not answer. Your text is still here.", true)
    }, ANSWER_MS)
    editor.pending = { number, action, caption: box.value, moves: action !== "save", timer }
    box.readOnly = editor.pending.moves
    say("Saving…")
    editor.send({ action, dataset, id, number, version: editor.version, caption: box.value, changed: dirty() })
  }

  const settle = (answer) => {
    if (!editor.pending || answer?.number !== editor.pending.number) return null
    const settled = editor.pending
    clearTimeout(settled.timer)
    editor.pending = null
    box.readOnly = false
    return settled
  }

  editor.show = (data) => {
    const settled = settle(data.answer)
    const stayed = editor.data?.id === data.id && editor.data?.dataset === data.dataset
    const refused = data.answer?.conflict || data.answer?.error
    editor.data = data
    if (!stayed) {
      fill(data.caption, data.version)
    } else {
      if (settled && !refused) {
        if (settled.action === "undo") fill(data.caption, data.version)
        editor.saved = settled.action === "undo" ? data.caption : settled.caption
        editor.version = data.answer.version
      }
      if (data.version !== editor.version && !dirty()) fill(data.caption, data.version)
    }
    render(data, stayed && Boolean(data.answer?.conflict))
    if (settled) say(data.answer.note, Boolean(refused))
    else if (!editor.pending && !dirty()) say(data.note)
    if (settled && refused) editor.waiting = editor.leave = null
    else if (settled) proceed()
  }

  const proceed = () => {
    const { waiting, leave } = editor
    editor.waiting = null
    if (leave && dirty()) return act("save")
    editor.leave = null
    if (leave) leave()
    else if (waiting) act(waiting)
  }

  const render = (data, conflict) => {
    const picture = find(".picture")
    if (picture.getAttribute("src") !== data.picture) picture.setAttribute("src", data.picture)
    picture.classList.toggle("tiny", data.tiny)
    find(".draft").hidden = !data.draft
    find(".draft-text").textContent = data.draft
    find('[data-do="use-draft"]').hidden = data.draft === data.caption
    find(".conflict").hidden = !conflict
    find(".theirs").textContent = data.caption || "(nothing)"
    if (data.upcoming) new Image().src = data.upcoming
  }

  box.addEventListener("input", () => {
    countWords()
    say("Not saved yet")
    clearTimeout(editor.idle)
    editor.idle = setTimeout(() => dirty() && find(".conflict").hidden && act("save"), IDLE_MS)
  })
  box.addEventListener("blur", (event) => {
    if (dirty() && !root.contains(event.relatedTarget) && find(".conflict").hidden) act("save")
  })
  root.addEventListener("keydown", (event) => {
    const action = keyAction(event)
    if (!action) return
    event.preventDefault()
    event.stopPropagation()
    act(action)
  })
  root.addEventListener("click", (event) => {
    const button = event.target.closest("button")
    if (!button) return
    if (button.dataset.action === "undo" && dirty()) {
      box.value = editor.saved
      countWords()
      say("Your unsaved text was taken back")
    } else if (button.dataset.action) {
      act(button.dataset.action)
    } else {
      choices[button.dataset.do]()
    }
    box.focus()
  })
  window.addEventListener("beforeunload", (event) => {
    if (box.isConnected && dirty()) event.preventDefault()
  })
  window.addEventListener("click", (event) => {
    // A click that leaves while something is unsaved waits for the answer: Streamlit may drop one of two requests.
    const path = event.composedPath()
    const leaving = path.includes(root) ? null : path.find((element) => element.matches?.("a, button"))
    if (!leaving || !box.isConnected || !(editor.pending || dirty()) || !find(".conflict").hidden) return
    event.preventDefault()
    event.stopImmediatePropagation()
    editor.leave = () => leaving.click()
    act("save")
  }, true)

  const choices = {
    "use-draft": () => {
      box.value = editor.data.draft
      box.dispatchEvent(new Event("input"))
    },
    mine: () => {
      editor.version = editor.data.version
      act("save")
    },
    theirs: () => {
      fill(editor.data.caption, editor.data.version)
      find(".conflict").hidden = true
      say("Theirs is in the box")
    },
  }
  return editor
}

function keyAction(event) {
  const control = event.ctrlKey || event.metaKey
  if (control && event.key === "Enter") return "save_next"
  if (event.altKey && event.key === "Enter") return "approve_next"
  if (event.altKey && event.key === "ArrowLeft") return "previous"
  if (event.altKey && event.key === "ArrowRight") return "next"
  if (control && event.key.toLowerCase() === "j") return "next_unreviewed"
  return null
}

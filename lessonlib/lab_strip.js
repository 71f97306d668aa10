// A strip on top of a lesson in JupyterLab: what is right here and in all, what is due, where one was last.
// A federated extension written by hand; `lessonlib lab` puts it where JupyterLab looks (notebook 97), and
// `lessonlib.review` answers it from the learner's own record (notebook 92).
(() => {
  const STYLE = `
    .lessonlib-strip { display: flex; flex-wrap: wrap; gap: 0 2em; align-items: center; min-height: 28px; padding: 0 12px;
      background: var(--jp-layout-color1); color: var(--jp-ui-font-color1); font-size: var(--jp-ui-font-size1);
      border-bottom: 1px solid var(--jp-border-color1); }
    .lessonlib-strip[hidden] { display: none; }
    .lessonlib-strip label { display: flex; align-items: center; gap: .5em; }
    .lessonlib-strip progress { width: 8em; }
    .lessonlib-strip code { font-family: var(--jp-code-font-family); }
    .lessonlib-strip button { font: inherit; color: var(--jp-content-link-color); background: none; border: 0; padding: 2px 0;
      text-decoration: underline; cursor: pointer; }`

  let shared
  async function need(name) {          // a module of JupyterLab itself, not of another extension
    const versions = Object.values(shared[name])
    const own = versions.find(one => String(one.from).startsWith('@jupyterlab/application')) || versions[0]
    return (await own.get())()
  }

  function element(kind, text, parent) {
    const made = document.createElement(kind)
    made.textContent = text
    parent.append(made)
    return made
  }

  function bar(words, [value, most], parent) {
    const label = element('label', words, parent), progress = element('progress', '', label)
    Object.assign(progress, {max: Math.max(most, 1), value})
    element('span', `${value} of ${most}`, label)
  }

  function draw(node, told, open) {
    const focused = node.contains(document.activeElement)
    node.replaceChildren()
    node.hidden = !told.here
    if (!told.here) return
    if (told.here[1]) bar('Exercises here', told.here, node)
    bar('in all', told.all, node)
    bar('Questions', told.answered, node)
    if (told.due) {
      const words = element('span', `${told.due} question${told.due > 1 ? 's' : ''} to answer today: `, node)
      element('code', 'lessonlib.review.review()', words)
    }
    if (told.last) {
      const words = element('span', 'Last in ', node), button = element('button', told.last, words)
      button.onclick = () => open(told.last)
      if (focused) button.focus()
    }
  }

  async function plugin() {
    const [{INotebookTracker, NotebookActions}, {Widget}, {ServerConnection}] =
      await Promise.all(['@jupyterlab/notebook', '@lumino/widgets', '@jupyterlab/services'].map(need))

    function activate(app, tracker) {
      const settings = app.serviceManager.serverSettings, strips = new Map()
      document.head.append(Object.assign(document.createElement('style'), {textContent: STYLE}))

      function put(panel) {
        const widget = new Widget(), node = widget.node
        let waiting
        widget.addClass('lessonlib-strip')
        node.setAttribute('role', 'region')
        node.setAttribute('aria-label', 'Where you are in the course')
        node.hidden = true

        function open(lesson) {
          const folder = panel.context.path.split('/').slice(0, -1)
          app.commands.execute('docmanager:open', {path: [...folder, `${lesson}.ipynb`].join('/')})
        }
        async function ask() {
          const name = panel.context.path.split('/').pop().replace(/\.ipynb$/, '')
          try {
            const where = `${settings.baseUrl}lessonlib/progress?lesson=${encodeURIComponent(name)}`
            const answer = await ServerConnection.makeRequest(where, {cache: 'no-store'}, settings)
            draw(node, answer.ok ? await answer.json() : {}, open)
          } catch { draw(node, {}, open) }      // no server, no strip; the lesson goes on
        }
        strips.set(panel.content, () => { clearTimeout(waiting); waiting = setTimeout(ask, 300) })
        panel.disposed.connect(() => { clearTimeout(waiting); strips.delete(panel.content) })
        panel.contentHeader.addWidget(widget)
        panel.context.ready.then(ask)
        panel.context.pathChanged.connect(ask)
      }
      tracker.widgetAdded.connect((_, panel) => put(panel))
      tracker.forEach(put)
      tracker.currentChanged.connect((_, panel) => { if (panel && strips.has(panel.content)) strips.get(panel.content)() })
      NotebookActions.executed.connect((_, {notebook}) => { if (strips.has(notebook)) strips.get(notebook)() })
    }
    return {__esModule: true, default: {id: 'lessonlib:progress', autoStart: true, requires: [INotebookTracker], activate}}
  }

  (window._JUPYTERLAB = window._JUPYTERLAB || {}).lessonlib = {
    init: scope => { shared = scope },
    get: async () => { const made = await plugin(); return () => made },
  }
})()

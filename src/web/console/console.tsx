import { useSignal } from '@preact/signals'
import { render } from 'preact'
import { useEffect } from 'preact/hooks'
import { words } from '../language.ts'
import { Brand } from '../parts/brand.tsx'
import { Button } from '../parts/button.tsx'
import { LanguageSwitch } from '../parts/language_switch.tsx'
import { ProblemNotice } from '../parts/notice.tsx'
import { Offline } from '../parts/offline.tsx'
import { Toasts } from '../parts/toasts.tsx'
import { followActivity } from './activity.ts'
import { Details } from './details.tsx'
import { Holds } from './holds.tsx'
import { Login } from './login.tsx'
import { Rates } from './rates.tsx'
import { search, searching } from './search.ts'
import { leave, mayEnter, readSession, session, session_problem } from './session.ts'
import { Stock } from './stock.tsx'
import { Sweeper } from './sweeper.tsx'
import { Tiles } from './tiles.tsx'

/** The console: how the service stands, and what can be done about it. */
function Console() {
  const { console: say, skip } = words.value
  const who = session.value
  useEffect(() => void (document.title = say.title), [say.title])
  return (
    <>
      <a class="skip" href="#main">
        {skip}
      </a>
      <header class="bar">
        <div class="bar-inner">
          <Brand name={say.title} href="/console" />
          <div class="bar-end">
            {who?.client ? (
              <>
                <span class="small soft">{say.as(who.client)}</span>
                <Button look="little plain" onPress={() => void leave()}>
                  {say.leave}
                </Button>
              </>
            ) : null}
            <LanguageSwitch />
          </div>
        </div>
      </header>
      <main class="main" id="main" tabIndex={-1}>
        {who === undefined ? <Waiting /> : mayEnter(who) ? <Board open={who.client === null} /> : <Login />}
      </main>
      <Toasts />
    </>
  )
}

function Waiting() {
  if (session_problem.value === undefined)
    return <div class="bone" style={{ height: '28rem' }} role="img" aria-label={words.value.loading} />
  return <ProblemNotice problem={session_problem.value} onRetry={() => void readSession()} />
}

function Board({ open }: { open: boolean }) {
  const { console: say } = words.value
  useEffect(followActivity, [])
  return (
    <>
      <div class="lead">
        <h1>{say.overview}</h1>
        {open ? <span class="chip long">{say.open}</span> : null}
      </div>
      <Search />
      <Offline />
      <Tiles />
      <div class="board">
        <div>
          <Stock />
        </div>
        <div>
          <Rates />
          <Holds />
          <Sweeper />
        </div>
      </div>
      <Details />
    </>
  )
}

function Search() {
  const { console: say } = words.value
  const text = useSignal('')
  return (
    <form
      class="inline-form"
      role="search"
      onSubmit={(event) => {
        event.preventDefault()
        void search(text.value)
      }}
    >
      <label class="field">
        <span class="label">{say.searchFor}</span>
        <input
          class="input"
          type="search"
          autocomplete="off"
          spellcheck={false}
          aria-describedby="search-hint"
          value={text.value}
          onInput={(event) => (text.value = event.currentTarget.value)}
        />
      </label>
      <Button submit off={searching.value}>
        {searching.value ? say.searching : say.search}
      </Button>
      <span id="search-hint" class="unseen">
        {say.searchHint}
      </span>
    </form>
  )
}

void readSession()
render(<Console />, document.getElementById('page')!)

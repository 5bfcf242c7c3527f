import { choose, language, words } from '../language.ts'
import type { Language } from '../words.ts'

/** Each language by its own name, so that it is found by who can't read the other. */
const NAMES: Record<Language, { short: string; name: string }> = {
  en: { short: 'EN', name: 'English' },
  ko: { short: '한국어', name: '한국어' },
}

export function LanguageSwitch() {
  return (
    <div class="switch" role="group" aria-label={words.value.language}>
      {(Object.keys(NAMES) as Language[]).map((one) => (
        <button
          key={one}
          type="button"
          lang={one}
          aria-label={NAMES[one].name}
          aria-pressed={language.value === one}
          onClick={() => choose(one)}
        >
          {NAMES[one].short}
        </button>
      ))}
    </div>
  )
}

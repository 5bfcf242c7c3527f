import { computed, signal } from '@preact/signals'
import { WORDS, type Language, type Words } from './words.ts'

/** In which language the page speaks: what was chosen here before, else what the browser prefers. */

const KEY = 'language'

export const language = signal<Language>(remembered() ?? preferred())

/** The words of the language that is chosen. */
export const words = computed<Words>(() => WORDS[language.value])

/** Switches, and remembers it for both pages. */
export function choose(chosen: Language): void {
  language.value = chosen
  try {
    localStorage.setItem(KEY, chosen)
  } catch {
    // A browser that keeps nothing asks again next time.
  }
}

language.subscribe((chosen) => {
  document.documentElement.lang = chosen
})

function remembered(): Language | undefined {
  try {
    const kept = localStorage.getItem(KEY)
    return kept === 'en' || kept === 'ko' ? kept : undefined
  } catch {
    return undefined
  }
}

function preferred(): Language {
  return navigator.language.toLowerCase().startsWith('ko') ? 'ko' : 'en'
}

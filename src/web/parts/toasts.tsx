import { signal } from '@preact/signals'
import { words } from '../language.ts'

/** Short words about what has just been done. They are read out, and go by themselves. */

type Toast = { id: number; text: string; link: { text: string; href: string } | undefined }

const SHOWN_MS = 6000
const SHOWN_MAX = 3

const toasts = signal<readonly Toast[]>([])
let last_id = 0

export function say(text: string, link?: Toast['link']): void {
  const id = ++last_id
  toasts.value = [...toasts.value, { id, text, link }].slice(-SHOWN_MAX)
  setTimeout(() => dismiss(id), SHOWN_MS)
}

function dismiss(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id)
}

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map(({ id, text, link }) => (
        <div class="toast" key={id}>
          <span>{text}</span>
          {link === undefined ? (
            <button type="button" onClick={() => dismiss(id)}>
              {words.value.close}
            </button>
          ) : (
            <a href={link.href}>{link.text}</a>
          )}
        </div>
      ))}
    </div>
  )
}

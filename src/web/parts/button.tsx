import type { ComponentChildren } from 'preact'

type ButtonProps = {
  children: ComponentChildren
  onPress?: () => void
  /** Something is on its way, or there is nothing to do: it can be reached and says so, but does nothing. */
  off?: boolean
  look?: string
  label?: string
  submit?: boolean
  describedBy?: string
}

/** A button that keeps the keyboard's focus while it is off, which `disabled` would lose. */
export function Button({ children, onPress, off = false, look = '', label, submit = false, describedBy }: ButtonProps) {
  return (
    <button
      type={submit ? 'submit' : 'button'}
      class={`button ${look}`}
      aria-disabled={off ? 'true' : undefined}
      aria-label={label}
      aria-describedby={describedBy}
      onClick={(event) => {
        if (off) event.preventDefault()
        else onPress?.()
      }}
    >
      {children}
    </button>
  )
}

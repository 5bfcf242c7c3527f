/** The mark and the name of a page. */
export function Brand({ name, href }: { name: string; href: string }) {
  return (
    <a class="brand" href={href}>
      <svg
        viewBox="0 0 24 24"
        width="24"
        height="24"
        fill="none"
        stroke="currentColor"
        stroke-width="1.8"
        aria-hidden="true"
      >
        <path d="M5 9h14l-1.2 11H6.2z" stroke-linejoin="round" />
        <path d="M8.5 9a3.5 3.5 0 0 1 7 0" />
      </svg>
      {name}
    </a>
  )
}

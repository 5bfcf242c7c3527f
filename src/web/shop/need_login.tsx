import { words } from '../language.ts'
import { Button } from '../parts/button.tsx'
import { asCustomer } from './session.ts'

/** Stands where something would be that is somebody's. */
export function NeedLogin() {
  const { login } = words.value
  return (
    <div class="panel">
      <p>{login.needed}</p>
      <div class="row">
        <Button look="first" onPress={() => asCustomer(() => undefined)}>
          {login.loggedOut}
        </Button>
      </div>
    </div>
  )
}

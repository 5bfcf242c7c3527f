import type { BookedPayment } from './queries.ts'

/** What a buyer sees at the development gateway: the amount, what to do, and how the gateway should behave with it. */

export const STYLE = `:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 30rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.2rem } .amount { font-size: 2rem; margin: .5rem 0 }
.actions { display: grid; gap: .5rem; margin: 1.5rem 0 }
button { font: inherit; padding: .7rem 1rem; border-radius: .5rem; border: 1px solid GrayText; cursor: pointer }
button[value=approve] { background: #1a56db; color: #fff; border-color: #1a56db }
fieldset { border: 1px solid GrayText; border-radius: .5rem; display: grid; gap: .5rem } label { display: flex; gap: .5rem; justify-content: space-between }
.said { padding: .5rem .75rem; border: 1px solid GrayText; border-radius: .5rem }
`

const SAID: Record<BookedPayment['status'], string> = {
  requires_action: '',
  authorised: 'Approved. You can go back to the shop. · 승인되었습니다.',
  captured: 'Paid. You can go back to the shop. · 결제되었습니다.',
  declined: 'The card was declined. Try again. · 카드가 거절되었습니다. 다시 시도하세요.',
  failed: 'The payment failed. · 결제에 실패했습니다.',
  cancelled: 'Cancelled. · 취소되었습니다.',
}

/** The page of one payment. */
export function paymentPage(payment: BookedPayment): string {
  const { status, amount, currency, order_id } = payment
  const is_open = status === 'requires_action' || status === 'declined'
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Development gateway</title><link rel="stylesheet" href="/gateway/development/style.css">
</head>
<body>
<h1>Development gateway · 개발용 결제창</h1>
<p>No money moves here. Order <code>${order_id}</code></p>
<p class="amount"><strong>${amount} ${escape(currency)}</strong></p>
${SAID[status] === '' ? '' : `<p class="said" role="status">${SAID[status]}</p>`}
${is_open ? FORM : ''}
</body>
</html>
`
}

const FORM = `<form method="post">
<div class="actions">
<button name="choice" value="approve">Approve · 승인</button>
<button name="choice" value="decline">Decline the card, may try again · 카드 거절</button>
<button name="choice" value="fail">Fail for good · 결제 실패</button>
<button name="choice" value="cancel">Cancel · 취소</button>
</div>
<details><summary>How the gateway behaves</summary>
<fieldset>
<label>Webhooks late by (ms) <input name="webhook_delay_ms" type="number" min="0" value="0"></label>
<label>Copies of each webhook <input name="webhook_copies" type="number" min="0" max="10" value="1"></label>
<label>Webhooks in reverse <select name="webhooks_reversed"><option value="false">no</option><option value="true">yes</option></select></label>
<label>Takes the money by itself <select name="captures_itself"><option value="false">no</option><option value="true">yes</option></select></label>
<label>Capture <select name="capture"><option>done</option><option>refused</option><option>answer_lost</option></select></label>
<label>Refund <select name="refund"><option>done</option><option>refused</option><option>answer_lost</option></select></label>
</fieldset></details>
</form>`

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}

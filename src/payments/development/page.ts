import type { BookedPayment } from './queries.ts'

/** What a buyer sees at the development gateway: the amount, what to do, and how the gateway should behave with it. */

export const STYLE = `:root { color-scheme: light dark; font: 16px/1.5 Inter, system-ui, NanumGothic, sans-serif }
body { max-width: 26rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; word-break: keep-all }
h1 { font-size: 1.2rem } .amount { font-size: 2rem; margin: .5rem 0 }
.actions { display: grid; gap: .5rem; margin: 1.5rem 0 }
button, input, select { font: inherit; border: 1px solid GrayText; border-radius: .375rem; background: Canvas; color: CanvasText }
button { min-height: 2.75rem; padding: .5rem 1rem; font-weight: 600; cursor: pointer }
button[value=approve] { background: #1a56db; color: #fff; border-color: #1a56db }
:focus-visible { outline: 3px solid #1a56db; outline-offset: 2px }
summary { cursor: pointer; padding: .5rem 0 } input, select { width: 8rem; min-height: 2.25rem; padding: 0 .5rem }
fieldset { border: 0; padding: .5rem 0; margin: 0; display: grid; gap: .5rem }
label { display: flex; align-items: center; gap: .5rem; justify-content: space-between }
.said { padding: .5rem .75rem; border: 1px solid GrayText; border-radius: .375rem }
`

const SAID: Record<BookedPayment['status'], string> = {
  requires_action: '',
  authorised: 'Approved. · 승인되었습니다.',
  captured: 'Paid. · 결제되었습니다.',
  declined: 'The card was declined. Try again. · 카드가 거절되었습니다. 다시 시도하세요.',
  failed: 'The payment failed. · 결제에 실패했습니다.',
  cancelled: 'Cancelled. · 취소되었습니다.',
}

/** The page of one payment. */
export function paymentPage(payment: BookedPayment): string {
  const { status, amount, currency, order_id, return_url } = payment
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
<p class="amount"><strong>${escape(money(amount, currency))}</strong></p>
${SAID[status] === '' ? '' : `<p class="said" role="status">${SAID[status]}</p>`}
${is_open ? FORM : ''}
${return_url === null ? '' : `<p><a href="${escape(return_url)}">Back to the shop · 상점으로 돌아가기</a></p>`}
</body>
</html>
`
}

const FORM = `<form method="post">
<div class="actions">
<button name="choice" value="approve">Approve · 승인</button>
<button name="choice" value="decline">Decline the card; it may be tried again · 카드 거절</button>
<button name="choice" value="fail">Fail for good · 결제 실패</button>
<button name="choice" value="cancel">Cancel · 취소</button>
</div>
<details><summary>How the gateway behaves · 동작 설정</summary>
<fieldset>
<label>Webhooks late by (ms) <input name="webhook_delay_ms" type="number" min="0" value="0"></label>
<label>Copies of each webhook <input name="webhook_copies" type="number" min="0" max="10" value="1"></label>
<label>Webhooks in reverse <select name="webhooks_reversed"><option value="false">no</option><option value="true">yes</option></select></label>
<label>Takes the money by itself <select name="captures_itself"><option value="false">no</option><option value="true">yes</option></select></label>
<label>Capture <select name="capture"><option>done</option><option>refused</option><option>answer_lost</option></select></label>
<label>Refund <select name="refund"><option>done</option><option>refused</option><option>answer_lost</option></select></label>
</fieldset></details>
</form>`

/** An amount in the currency's minor unit as people read it. */
function money(amount: number, currency: string): string {
  const format = new Intl.NumberFormat('en', { style: 'currency', currency, currencyDisplay: 'narrowSymbol' })
  return format.format(amount / 10 ** (format.resolvedOptions().maximumFractionDigits ?? 0))
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}

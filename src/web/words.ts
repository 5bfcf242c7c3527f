import type { OrderStatus, PaymentFailure } from './shapes.ts'

/**
 * All that the pages say, in English and Korean. The compiler sees to it that neither lacks a word. What stands in an answer of
 * the API is not shown as it is: its code is looked up here.
 */

export type Language = 'en' | 'ko'

/** What a problem's words may be made of. */
export type ProblemFacts = {
  code: string
  detail: string
  request_id: string
  available: number | undefined
  held: number | undefined
}

const en = {
  language: 'Language',
  loading: 'Loading …',
  retry: 'Try again',
  close: 'Close',
  skip: 'Skip to content',
  moment: 'One moment …',
  offline: 'No live updates at the moment. Numbers may be old; trying to connect again.',

  shop: {
    title: 'Demo shop',
    products: 'Products',
    cart: 'Cart',
    cartWith: (n: number) => (n === 0 ? 'Cart, empty' : n === 1 ? 'Cart, 1 item' : `Cart, ${n} items`),
    orders: 'Orders',
    lead: 'Stock is live: what others buy shows here as it happens.',
    none: 'There is nothing on sale yet.',
    noneNext: 'Make a product with POST /v1/products, or start with an empty database to get the demo catalogue.',
    more: 'Show more products',
    from: (price: string) => `from ${price}`,
    quantity: 'Quantity',
    add: 'Add to cart',
    adding: 'Adding …',
    added: (what: string) => `${what} is in your cart.`,
    toCart: 'Go to cart',
    available: (n: string) => `${n} available`,
    last: (n: number) => (n === 1 ? 'Only 1 left' : `Only ${n} left`),
    soldOut: 'Sold out',
    noSuchCombination: 'Not made in this combination',
    backInStock: (what: string) => `${what} is back in stock.`,
    nowSoldOut: (what: string) => `${what} has just sold out.`,
    bestSeller: 'Best seller',
    productText: (text: string) => text,
    option: (name: string) => name,
    optionValue: (value: string) => value,
  },

  login: {
    title: 'Who is shopping?',
    why: 'This shop is a demonstration: say who you are, and you are believed. Nothing here costs real money.',
    choose: 'Somebody who was here before',
    orNew: 'Somebody new',
    name: 'Name',
    enter: 'Start shopping',
    needed: 'Log in to see what is yours.',
    off: 'Logging in by name is switched off here. Whoever runs the shop can allow it with SHOP_DEMO_LOGIN=true.',
    leave: 'Log out',
    loggedOut: 'Log in',
    balance: 'Balance',
    topUp: (amount: string) => `Add ${amount}`,
    toppedUp: (amount: string) => `${amount} added to your balance.`,
    account: 'Your account',
  },

  cart: {
    title: 'Your cart',
    empty: 'Your cart is empty.',
    emptyNext: 'Add something you like; a cart holds no stock, so the sooner you order, the better.',
    back: 'Look at the products',
    remove: (what: string) => `Take out ${what}`,
    removeShort: 'Remove',
    fewer: 'One fewer',
    more: 'One more',
    each: (price: string) => `${price} each`,
    subtotal: 'Subtotal',
    discount: 'Discount',
    total: 'Total',
    coupon: 'Coupon',
    couponCode: 'Coupon code',
    couponGet: 'Get it',
    couponGot: (code: string, number: number) => `${code} is yours; it was number ${number}.`,
    couponNone: 'No coupon',
    off: (what: string) => `${what} off`,
    checkout: 'Hold for me and pay',
    checkingOut: 'Holding …',
    note: 'Everything is held for you while you pay. Nobody else can buy it meanwhile.',
    problem: {
      not_on_sale: 'No longer on sale. Remove it to go on.',
      sold_out: 'Sold out just now. Remove it, or wait: units come back when somebody does not pay.',
      insufficient_stock: (n: number) => `Only ${n} left. Lower the quantity to go on.`,
    },
  },

  order: {
    title: 'Order',
    held: 'Held for you',
    timeLeft: (time: string) => `${time} left to pay`,
    minutesLeft: (n: number) => (n === 1 ? 'One minute left to pay.' : `${n} minutes left to pay.`),
    secondsLeft: (n: number) => `${n} seconds left to pay.`,
    until: (time: string) => `until ${time}, by the shop's clock`,
    payBalance: 'Pay from balance',
    payCard: 'Pay by card',
    paying: 'Paying …',
    balanceIs: (amount: string) => `You have ${amount}.`,
    balanceShort: (amount: string) => `${amount} is missing. Paying now would fail and let go of the hold.`,
    cardNote: 'The card is asked for on the gateway’s own page. It brings you back here.',
    continueCard: 'Go on at the gateway',
    cardWaits: 'The gateway waits for you, or has not told us yet how it went. This page notices by itself.',
    stripe: 'This shop takes cards through Stripe, whose form this demonstration does not show. Pay from the balance.',
    cancel: 'Cancel the order',
    cancelling: 'Cancelling …',
    none: 'You have not ordered yet.',
    history: 'Your orders',
    placed: (time: string) => `Ordered ${time}`,
    older: 'Show older orders',
    again: 'Back to the products',
    lines: 'What you ordered',
    coupon: (code: string) => `Coupon ${code}`,
    status: {
      awaiting_payment: 'Awaiting payment',
      paid: 'Paid',
      payment_failed: 'Payment failed',
      cancelled: 'Cancelled',
      expired: 'Time ran out',
      refund_required: 'Refund due',
      refunded: 'Refunded',
      partially_refunded: 'Partly refunded',
    } satisfies Record<OrderStatus, string>,
    explained: {
      awaiting_payment: 'Pay before the time runs out, and it is yours.',
      paid: 'Thank you. It is yours, and the stock is booked.',
      payment_failed: 'Nothing was charged, and everything is back on the shelf. Order again to try once more.',
      cancelled: 'Nothing was charged, and everything is back on the shelf.',
      expired: 'The hold ended before it was paid. Everything is back on the shelf; order again if it is still there.',
      refund_required: 'Money came in that we cannot keep. It will be given back to you; you need not do anything.',
      refunded: 'All of it was given back.',
      partially_refunded: 'Part of it was given back.',
    } satisfies Record<OrderStatus, string>,
    failure: {
      insufficient_balance: 'The balance was too low.',
      card_declined: 'The card was declined. Try again, or use another one: the hold stays until the time runs out.',
      card_blocked: 'The card is blocked.',
      cancelled_by_buyer: 'You cancelled the payment.',
      other: 'The payment failed.',
    } satisfies Record<PaymentFailure, string>,
    announced: (status: string) => `The order is now: ${status}.`,
  },

  console: {
    title: 'Console',
    login: 'Log in to the console',
    loginWhy: 'An API key with the scope “admin” is exchanged for a session of this browser. It is not kept.',
    key: 'API key',
    enter: 'Log in',
    open: 'Open: no API key exists yet, so this machine needs none',
    as: (name: string) => `Key “${name}”`,
    leave: 'Log out',
    now: 'Now',
    pending: 'Pending holds',
    pendingMax: (n: string) => `${n} or more`,
    overview: 'Overview',
    overdue: 'Overdue',
    perMinute: '/ min',
    lastMinute: 'in the last minute',
    reservations: 'Reservations',
    refusals: 'Refusals',
    confirms: 'Confirms',
    releases: 'Releases',
    expiries: 'Expiries',
    rates: 'Rates',
    ratesNote: 'Counts of the sixty seconds before each moment, of the process that answers.',
    ratesEmpty: 'The chart fills while this page is open.',
    ratesTable: 'The last values as numbers',
    sweeper: 'Sweeper',
    sweeperWell: 'Running',
    sweeperStalled: 'Stalled',
    sweeperStalledNext:
      'Holds are overdue and no sweep succeeds. Run “npm run cli -- status”: it says who blocks it. Nothing is oversold meanwhile.',
    sweeperOff: 'No sweep has run yet',
    sweeperOffNext: 'EXPIRY_CRON is “off” here, or the service has just started. “npm run cli -- sweep” runs one.',
    setAside: 'Set aside',
    setAsideNext: 'These failed to expire alone and are tried again later. “npm run cli -- status” names them.',
    instance: 'Instance',
    lastRun: 'Last run',
    expired: 'Expired',
    error: 'Last error',
    ago: (seconds: number) =>
      seconds < 2 ? 'just now' : seconds < 120 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`,
    never: 'never',
    stock: 'Stock',
    stockEmpty: 'There is no stock yet.',
    stockEmptyNext: 'Create a SKU with PUT /v1/stock/{sku}, or import a file: npm run cli -- stock import FILE.csv',
    filter: 'Filter by SKU',
    noMatch: 'No SKU that is shown has this in its name. The search above finds every SKU by its whole name.',
    sku: 'SKU',
    available: 'Available',
    held: 'Held',
    onHand: 'On hand',
    trend: 'Trend',
    trendOf: (sku: string, from: number, to: number) => `${sku}: available went from ${from} to ${to}`,
    more: 'Show more',
    details: (sku: string) => `Details of ${sku}`,
    detailsShort: 'Details',
    holds: 'Pending holds',
    holdsEmpty: 'Nobody holds anything at the moment.',
    holdsShown: (n: string, all: string) => `The newest ${n} of ${all}`,
    reservation: 'Reservation',
    customer: 'Customer',
    what: 'What',
    remaining: 'Remaining',
    overdueShort: 'overdue',
    release: 'Release',
    releaseOf: (id: string) => `Release reservation ${id}`,
    releaseSure: 'Release it? Whoever is paying now will be refused.',
    releaseYes: 'Release',
    keep: 'Keep',
    released: (id: string) => `Reservation ${id} was released; its units are available again.`,
    search: 'Search',
    searchFor: 'Order, reservation or SKU',
    searchHint: 'An id of an order or a reservation, a reference, or a SKU as it is written.',
    searching: 'Searching …',
    nothing: (what: string) => `Nothing is called “${what}”.`,
    nothingNext: 'Ids are matched whole, and SKUs are case-sensitive. Check for a missing character.',
    order: 'Order',
    status: 'Status',
    reference: 'Reference',
    created: 'Created',
    closed: 'Closed',
    reason: 'Reason',
    total: 'Total',
    payments: 'Payments',
    notChosen: 'not chosen yet',
    methods: { balance: 'Balance', card: 'Card', external: 'Elsewhere' },
    paymentStatuses: { paid: 'paid', pending: 'under way', failed: 'failed' },
    owed: 'to be given back',
    none: '–',
    ledger: 'Ledger',
    ledgerNote: 'Every change of this SKU’s counters, newest first.',
    older: 'Show older ones',
    seq: '#',
    kind: 'What',
    stockChange: 'On hand',
    heldChange: 'Held',
    after: 'On hand / held then',
    time: 'When',
    kinds: {
      set: 'set',
      adjust: 'adjusted',
      reserve: 'held',
      confirm: 'sold',
      release: 'released',
      expire: 'expired',
    },
    statuses: { pending: 'pending', confirmed: 'confirmed', released: 'released', expired: 'expired' },
    adjust: 'Adjust stock',
    delta: 'Units, up or down',
    why: 'Reason (optional)',
    apply: 'Adjust',
    adjusting: 'Adjusting …',
    adjusted: (sku: string, stock: string) => `${sku} now has ${stock} on hand.`,
    deltaWrong: 'Enter a whole number other than zero, such as 5 or -3.',
  },

  problem: ({ code, available, held, detail, request_id }: ProblemFacts): string => {
    switch (code) {
      case 'network':
        return 'The service cannot be reached. Check that it runs and that you are online, then try again.'
      case 'insufficient_stock':
        return shortageInEnglish(available)
      case 'sku_not_found':
        return 'This is not on sale any more. Reload the page to see what is.'
      case 'reservation_not_found':
        return 'There is no such reservation. Check the id.'
      case 'already_confirmed':
        return 'It is paid already, so it cannot be released. If the goods came back, adjust the stock.'
      case 'already_released':
        return 'It was released before. There is nothing left to do.'
      case 'stock_below_reserved':
        return held === 0
          ? 'There are not that many on hand. Take away fewer.'
          : `Customers hold ${held ?? 'some'} of it, so no fewer can be on hand. Release holds first, or take away fewer.`
      case 'stock_limit':
        return 'That is more than a SKU can count (2,000,000,000). Add fewer.'
      case 'invalid_request':
        return 'Something that was entered is too long, too big or not allowed. Correct it and try again.'
      case 'balance_limit':
        return 'An account cannot hold that much. Spend some first.'
      case 'customer_not_found':
        return 'This customer does not exist any more. Log in again.'
      case 'cart_limit':
        return 'The cart is full. Order what is in it first, or remove something.'
      case 'cart_empty':
        return 'The cart is empty. Put something in it first.'
      case 'coupon_not_found':
        return 'There is no such coupon for you. Check the spelling: codes are case-sensitive.'
      case 'coupon_exhausted':
        return 'All of these coupons are gone. Others were faster.'
      case 'coupon_already_issued':
        return 'You have this coupon already, and it is used.'
      case 'coupon_already_used':
        return 'This coupon was used for another order. Choose another one, or none.'
      case 'order_not_found':
      case 'payment_not_found':
      case 'not_found':
        return 'There is nothing here, or it is not yours.'
      case 'reservation_expired':
      case 'order_not_awaiting_payment':
        return 'This order awaits no payment any more.'
      case 'order_already_paid':
        return 'This order is paid already, so it cannot be cancelled.'
      case 'payment_in_progress':
        return 'A payment of this order is under way. Finish it at the gateway, or wait until it has ended.'
      case 'gateway_unavailable':
        return 'The card gateway does not answer. Nothing is charged twice if you try again.'
      case 'unauthenticated':
        return 'You are not logged in, or the login has ended. Log in and try again.'
      case 'forbidden':
        return `This is not allowed: ${detail}`
      case 'rate_limited':
        return 'Too many failed attempts came from here. Wait a minute and check the key.'
      case 'overloaded':
      case 'stock_conflict':
      case 'idempotency_key_in_use':
        return 'Too much is going on at the moment. Nothing was changed; try again in a few seconds.'
      case 'database_unavailable':
        return 'The database does not answer. Try again in a few seconds; nothing happens twice.'
      default:
        return `${detail || 'Something went wrong on our side.'} (${code}, request ${request_id})`
    }
  },
}

export type Words = typeof en

/** What the demo shop sells; a catalogue of one's own is shown as it is written. */
const PRODUCT_TEXTS: Record<string, string> = {
  'Canvas tote bag': '캔버스 토트백',
  'Natural cotton, long handles, holds a week of groceries.': '천연 면 소재에 긴 손잡이, 일주일 장보기도 거뜬합니다.',
  'Everyday T-shirt': '데일리 티셔츠',
  'Mid-weight organic cotton. Runs true to size.': '적당한 두께의 유기농 면. 정사이즈로 나왔습니다.',
  'Wool beanie': '울 비니',
  'Merino rib knit, one size.': '메리노 울 골지 니트, 프리사이즈.',
  'Pour-over coffee set': '핸드드립 커피 세트',
  'Stoneware dripper, glass server and forty filters.': '도자기 드리퍼와 유리 서버, 필터 40장 구성.',
  'House blend coffee, 250 g': '하우스 블렌드 커피 250 g',
  'Roasted on Tuesdays. Chocolate, hazelnut, a little orange.':
    '매주 화요일 로스팅. 초콜릿, 헤이즐넛, 은은한 오렌지 향.',
  'Trail running shoes': '트레일 러닝화',
  'Grippy, light, and happiest in mud.': '접지력 좋고 가벼운, 진흙길에 강한 러닝화.',
  'Signed poster, numbered edition': '친필 서명 포스터, 넘버링 에디션',
  'Risograph print, A2, edition of one hundred. One per wall, please.':
    '리소그래프 인쇄, A2, 100장 한정. 벽 하나에 한 장씩.',
  'Desk lamp, last season': '데스크 램프, 지난 시즌',
  'Brass and black. These are the last ones.': '황동과 블랙. 마지막 수량입니다.',
}
const OPTION_NAMES: Record<string, string> = { size: '사이즈', color: '색상', grind: '분쇄도' }
const OPTION_VALUES: Record<string, string> = {
  black: '블랙',
  white: '화이트',
  charcoal: '차콜',
  rust: '러스트',
  cream: '크림',
  'whole bean': '홀빈',
  filter: '필터용',
  espresso: '에스프레소용',
}

const ko: Words = {
  language: '언어',
  loading: '불러오는 중 …',
  retry: '다시 시도',
  close: '닫기',
  skip: '본문으로 건너뛰기',
  moment: '잠시만요 …',
  offline: '실시간 연결이 끊겼습니다. 표시된 수량이 오래되었을 수 있으며, 다시 연결하고 있습니다.',

  shop: {
    title: '데모 상점',
    products: '상품',
    cart: '장바구니',
    cartWith: (n) => (n === 0 ? '장바구니, 비어 있음' : `장바구니, ${n}개`),
    orders: '주문',
    lead: '재고는 실시간으로 표시됩니다. 다른 사람이 구매하면 바로 반영됩니다.',
    none: '아직 판매 중인 상품이 없습니다.',
    noneNext: 'POST /v1/products로 상품을 만들거나, 빈 데이터베이스로 시작하면 데모 상품이 들어갑니다.',
    more: '상품 더 보기',
    from: (price) => `${price}부터`,
    quantity: '수량',
    add: '장바구니에 담기',
    adding: '담는 중 …',
    added: (what) => `장바구니에 담았습니다: ${what}`,
    toCart: '장바구니로 가기',
    available: (n) => `${n}개 남음`,
    last: (n) => `단 ${n}개 남음`,
    soldOut: '품절',
    noSuchCombination: '없는 조합입니다',
    backInStock: (what) => `재입고: ${what}`,
    nowSoldOut: (what) => `방금 품절: ${what}`,
    bestSeller: '인기 상품',
    productText: (text) => PRODUCT_TEXTS[text] ?? text,
    option: (name) => OPTION_NAMES[name] ?? name,
    optionValue: (value) => OPTION_VALUES[value] ?? value,
  },

  login: {
    title: '누구로 쇼핑하시겠어요?',
    why: '시연용 상점이라 비밀번호 없이 이름만으로 로그인합니다. 실제 결제는 일어나지 않습니다.',
    choose: '방문한 적이 있는 고객',
    orNew: '처음 방문한 고객',
    name: '이름',
    enter: '쇼핑 시작',
    needed: '로그인하면 내 정보를 볼 수 있습니다.',
    off: '이름으로 로그인하는 기능이 꺼져 있습니다. 운영자가 SHOP_DEMO_LOGIN=true로 켤 수 있습니다.',
    leave: '로그아웃',
    loggedOut: '로그인',
    balance: '잔액',
    topUp: (amount) => `${amount} 충전`,
    toppedUp: (amount) => `${amount} 충전이 완료되었습니다.`,
    account: '내 계정',
  },

  cart: {
    title: '장바구니',
    empty: '장바구니가 비어 있습니다.',
    emptyNext:
      '마음에 드는 상품을 담아 보세요. 장바구니에 담아도 재고가 확보되지는 않으니, 서둘러 주문하는 것이 좋습니다.',
    back: '상품 보기',
    remove: (what) => `${what} 삭제`,
    removeShort: '삭제',
    fewer: '수량 줄이기',
    more: '수량 늘리기',
    each: (price) => `개당 ${price}`,
    subtotal: '소계',
    discount: '할인',
    total: '합계',
    coupon: '쿠폰',
    couponCode: '쿠폰 코드',
    couponGet: '받기',
    couponGot: (code, number) => `${code} 쿠폰을 ${number}번째로 받았습니다.`,
    couponNone: '쿠폰 없음',
    off: (what) => `${what} 할인`,
    checkout: '재고 확보하고 결제하기',
    checkingOut: '재고 확보 중 …',
    note: '결제하는 동안 상품을 확보해 둡니다. 그동안 다른 사람은 살 수 없습니다.',
    problem: {
      not_on_sale: '더 이상 판매하지 않습니다. 삭제해야 계속할 수 있습니다.',
      sold_out: '방금 품절되었습니다. 삭제하거나 기다려 보세요. 누군가 결제하지 않으면 재고가 돌아옵니다.',
      insufficient_stock: (n) => `${n}개만 남았습니다. 수량을 줄여야 계속할 수 있습니다.`,
    },
  },

  order: {
    title: '주문',
    held: '상품을 확보했습니다',
    timeLeft: (time) => `결제까지 ${time} 남음`,
    minutesLeft: (n) => `결제까지 ${n}분 남았습니다.`,
    secondsLeft: (n) => `결제까지 ${n}초 남았습니다.`,
    until: (time) => `상점 시각 기준 ${time}까지`,
    payBalance: '잔액으로 결제',
    payCard: '카드로 결제',
    paying: '결제 중 …',
    balanceIs: (amount) => `잔액은 ${amount}입니다.`,
    balanceShort: (amount) => `${amount} 부족합니다. 지금 결제하면 실패하고, 확보한 상품도 풀립니다.`,
    cardNote: '카드는 결제사 페이지에서 입력하고, 끝나면 여기로 돌아옵니다.',
    continueCard: '결제사에서 계속하기',
    cardWaits: '결제사가 기다리고 있거나 아직 결과를 알려 주지 않았습니다. 결과는 이 페이지에 저절로 나타납니다.',
    stripe: '이 상점은 Stripe로 카드를 받지만 이 시연 화면에는 그 양식이 없습니다. 잔액으로 결제해 주세요.',
    cancel: '주문 취소',
    cancelling: '취소하는 중 …',
    none: '아직 주문이 없습니다.',
    history: '내 주문',
    placed: (time) => `${time} 주문`,
    older: '이전 주문 더 보기',
    again: '상품으로 돌아가기',
    lines: '주문한 상품',
    coupon: (code) => `쿠폰 ${code}`,
    status: {
      awaiting_payment: '결제 대기',
      paid: '결제 완료',
      payment_failed: '결제 실패',
      cancelled: '취소됨',
      expired: '시간 초과',
      refund_required: '환불 예정',
      refunded: '환불 완료',
      partially_refunded: '부분 환불',
    },
    explained: {
      awaiting_payment: '시간 안에 결제하면 구매가 확정됩니다.',
      paid: '감사합니다. 구매가 확정되었습니다.',
      payment_failed: '결제된 금액은 없으며, 상품은 다시 판매됩니다. 원하시면 다시 주문해 주세요.',
      cancelled: '결제된 금액은 없으며, 상품은 다시 판매됩니다.',
      expired: '결제 시간이 지나 주문이 만료되었습니다. 상품은 다시 판매되니, 남아 있으면 다시 주문해 주세요.',
      refund_required: '이 주문에 쓸 수 없는 금액이 결제되었습니다. 환불해 드리니 따로 하실 일은 없습니다.',
      refunded: '전액 환불되었습니다.',
      partially_refunded: '일부가 환불되었습니다.',
    },
    failure: {
      insufficient_balance: '잔액이 부족했습니다.',
      card_declined:
        '카드가 거절되었습니다. 다시 시도하거나 다른 카드를 쓰세요. 결제 시간이 끝날 때까지 상품은 확보되어 있습니다.',
      card_blocked: '사용할 수 없는 카드입니다.',
      cancelled_by_buyer: '결제를 취소하셨습니다.',
      other: '결제에 실패했습니다.',
    },
    announced: (status) => `주문 상태: ${status}.`,
  },

  console: {
    title: '콘솔',
    login: '콘솔 로그인',
    loginWhy: '“admin” 권한이 있는 API 키를 이 브라우저의 세션으로 바꿉니다. 키는 저장하지 않습니다.',
    key: 'API 키',
    enter: '로그인',
    open: 'API 키가 아직 없어 이 컴퓨터에서는 로그인 없이 쓸 수 있습니다',
    as: (name) => `키 “${name}”`,
    leave: '로그아웃',
    now: '지금',
    pending: '대기 중인 예약',
    pendingMax: (n) => `${n} 이상`,
    overview: '현황',
    overdue: '만료 (정리 전)',
    perMinute: '/ 분',
    lastMinute: '최근 1분',
    reservations: '예약',
    refusals: '거절',
    confirms: '확정',
    releases: '해제',
    expiries: '만료',
    rates: '처리량',
    ratesNote: '각 시점 직전 60초 동안의 건수이며, 응답한 프로세스의 값입니다.',
    ratesEmpty: '이 페이지가 열려 있는 동안 그래프가 채워집니다.',
    ratesTable: '최근 값을 숫자로 보기',
    sweeper: '만료 처리기',
    sweeperWell: '정상 동작',
    sweeperStalled: '멈춤',
    sweeperStalledNext:
      '만료된 예약이 쌓이는데 정리가 되지 않습니다. “npm run cli -- status”를 실행하면 무엇이 막는지 알려 줍니다. 그동안에도 초과 판매는 없습니다.',
    sweeperOff: '아직 실행된 적 없음',
    sweeperOffNext: 'EXPIRY_CRON이 “off”이거나 방금 시작했습니다. “npm run cli -- sweep”으로 한 번 실행할 수 있습니다.',
    setAside: '보류',
    setAsideNext: '만료 처리에 실패해 나중에 다시 시도합니다. “npm run cli -- status”가 어떤 것인지 알려 줍니다.',
    instance: '인스턴스',
    lastRun: '마지막 실행',
    expired: '만료',
    error: '마지막 오류',
    ago: (seconds) => (seconds < 2 ? '방금' : seconds < 120 ? `${seconds}초 전` : `${Math.round(seconds / 60)}분 전`),
    never: '없음',
    stock: '재고',
    stockEmpty: '아직 재고가 없습니다.',
    stockEmptyNext: 'PUT /v1/stock/{sku}로 SKU를 만들거나 파일을 가져오세요: npm run cli -- stock import FILE.csv',
    filter: 'SKU 필터',
    noMatch: '표시된 SKU 중에는 없습니다. 위 검색은 전체 이름으로 모든 SKU를 찾습니다.',
    sku: 'SKU',
    available: '판매 가능',
    held: '예약 중',
    onHand: '보유',
    trend: '추이',
    trendOf: (sku, from, to) => `${sku}: 판매 가능 수량 ${from} → ${to}`,
    more: '더 보기',
    details: (sku) => `${sku} 자세히`,
    detailsShort: '자세히',
    holds: '대기 중인 예약',
    holdsEmpty: '지금은 예약이 없습니다.',
    holdsShown: (n, all) => `전체 ${all}건 중 최근 ${n}건`,
    reservation: '예약',
    customer: '고객',
    what: '내용',
    remaining: '남은 시간',
    overdueShort: '만료됨',
    release: '해제',
    releaseOf: (id) => `예약 ${id} 해제`,
    releaseSure: '해제할까요? 지금 결제 중인 사람은 거절됩니다.',
    releaseYes: '해제',
    keep: '그대로 두기',
    released: (id) => `예약 해제 완료: ${id}. 다시 판매할 수 있습니다.`,
    search: '검색',
    searchFor: '주문, 예약 또는 SKU',
    searchHint: '주문이나 예약의 ID, 참조 번호, 또는 SKU를 그대로 입력하세요.',
    searching: '검색 중 …',
    nothing: (what) => `“${what}” 검색 결과가 없습니다.`,
    nothingNext: 'ID는 전체가 일치해야 하고 SKU는 대소문자를 구분합니다. 빠진 글자가 없는지 확인하세요.',
    order: '주문',
    status: '상태',
    reference: '참조',
    created: '생성 시각',
    closed: '종료 시각',
    reason: '사유',
    total: '합계',
    payments: '결제',
    notChosen: '아직 선택 안 함',
    methods: { balance: '잔액', card: '카드', external: '외부 결제' },
    paymentStatuses: { paid: '완료', pending: '진행 중', failed: '실패' },
    owed: '환불해야 함',
    none: '–',
    ledger: '원장',
    ledgerNote: '이 SKU의 모든 수량 변화를 최신순으로 보여 줍니다.',
    older: '이전 기록 더 보기',
    seq: '#',
    kind: '종류',
    stockChange: '보유',
    heldChange: '예약',
    after: '이후 보유 / 예약',
    time: '시각',
    kinds: { set: '설정', adjust: '조정', reserve: '예약', confirm: '판매', release: '해제', expire: '만료' },
    statuses: { pending: '대기', confirmed: '확정', released: '해제', expired: '만료' },
    adjust: '재고 조정',
    delta: '증감 수량',
    why: '사유 (선택)',
    apply: '조정',
    adjusting: '조정하는 중 …',
    adjusted: (sku, stock) => `${sku}의 보유 수량은 이제 ${stock}개입니다.`,
    deltaWrong: '0이 아닌 정수를 입력하세요. 예: 5 또는 -3.',
  },

  problem: ({ code, available, held, detail, request_id }) => {
    switch (code) {
      case 'network':
        return '서비스에 연결할 수 없습니다. 서비스와 인터넷 연결을 확인한 뒤 다시 시도하세요.'
      case 'insufficient_stock':
        return shortageInKorean(available)
      case 'sku_not_found':
        return '더 이상 판매하지 않습니다. 페이지를 새로 고쳐 판매 중인 상품을 확인하세요.'
      case 'reservation_not_found':
        return '그런 예약이 없습니다. ID를 확인하세요.'
      case 'already_confirmed':
        return '이미 결제되어 해제할 수 없습니다. 상품이 돌아왔다면 재고를 조정하세요.'
      case 'already_released':
        return '이미 해제되었습니다. 더 할 일은 없습니다.'
      case 'stock_below_reserved':
        return held === 0
          ? '보유 수량보다 많이 뺄 수 없습니다. 더 적게 빼세요.'
          : `고객이 ${held ?? '일부'}개를 예약 중이라 그보다 적게 둘 수 없습니다. 예약을 먼저 해제하거나 더 적게 빼세요.`
      case 'stock_limit':
        return 'SKU가 셀 수 있는 수(2,000,000,000)를 넘습니다. 더 적게 더하세요.'
      case 'invalid_request':
        return '입력한 내용이 너무 길거나 크거나 허용되지 않습니다. 고친 뒤 다시 시도하세요.'
      case 'balance_limit':
        return '잔액이 한도를 넘습니다. 먼저 일부를 사용하세요.'
      case 'customer_not_found':
        return '이 고객은 더 이상 없습니다. 다시 로그인하세요.'
      case 'cart_limit':
        return '장바구니가 가득 찼습니다. 먼저 주문하거나 일부를 삭제하세요.'
      case 'cart_empty':
        return '장바구니가 비어 있습니다. 먼저 상품을 담으세요.'
      case 'coupon_not_found':
        return '사용할 수 있는 쿠폰이 아닙니다. 대소문자까지 맞는지 코드를 확인하세요.'
      case 'coupon_exhausted':
        return '선착순 쿠폰이 모두 소진되었습니다.'
      case 'coupon_already_issued':
        return '이미 받아서 사용한 쿠폰입니다.'
      case 'coupon_already_used':
        return '다른 주문에 쓴 쿠폰입니다. 다른 쿠폰을 선택하거나 쿠폰 없이 진행하세요.'
      case 'order_not_found':
      case 'payment_not_found':
      case 'not_found':
        return '찾을 수 없거나 본인의 것이 아닙니다.'
      case 'reservation_expired':
      case 'order_not_awaiting_payment':
        return '이 주문은 더 이상 결제를 기다리지 않습니다.'
      case 'order_already_paid':
        return '이미 결제된 주문이라 취소할 수 없습니다.'
      case 'payment_in_progress':
        return '이 주문의 결제가 진행 중입니다. 결제사에서 마치거나 끝날 때까지 기다려 주세요.'
      case 'gateway_unavailable':
        return '카드 결제사가 응답하지 않습니다. 다시 시도해도 두 번 결제되지 않습니다.'
      case 'unauthenticated':
        return '로그인하지 않았거나 로그인이 끝났습니다. 로그인한 뒤 다시 시도하세요.'
      case 'forbidden':
        return `허용되지 않습니다: ${detail}`
      case 'rate_limited':
        return '실패한 시도가 너무 많습니다. 1분 뒤에 키를 확인하고 다시 시도하세요.'
      case 'overloaded':
      case 'stock_conflict':
      case 'idempotency_key_in_use':
        return '지금은 요청이 너무 많습니다. 바뀐 것은 없으니 몇 초 뒤 다시 시도하세요.'
      case 'database_unavailable':
        return '데이터베이스가 응답하지 않습니다. 몇 초 뒤 다시 시도하세요. 두 번 처리되지는 않습니다.'
      default:
        return `요청을 처리하지 못했습니다. 다시 시도해 보고, 계속되면 알려 주세요. (${code}, 요청 ${request_id})`
    }
  },
}

/** @param available what is left of the one thing that is short; undefined if several are */
function shortageInEnglish(available: number | undefined): string {
  if (available === undefined)
    return 'There is not enough left. Lower the quantity, or wait: units come back when somebody does not pay.'
  if (available === 0)
    return 'It has just sold out. Units come back when somebody does not pay, so look again in a while.'
  return `Only ${available} left, counting what is in your cart. Lower the quantity.`
}

function shortageInKorean(available: number | undefined): string {
  if (available === undefined)
    return '재고가 부족합니다. 수량을 줄이거나 기다려 보세요. 누군가 결제하지 않으면 재고가 돌아옵니다.'
  if (available === 0) return '방금 품절되었습니다. 누군가 결제하지 않으면 재고가 돌아오니 잠시 뒤 다시 보세요.'
  return `장바구니에 담은 것을 포함해 ${available}개만 남았습니다. 수량을 줄이세요.`
}

export const WORDS: Record<Language, Words> = { en, ko }

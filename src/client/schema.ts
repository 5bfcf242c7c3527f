/**
 * The HTTP contract as types, generated from the OpenAPI document by "npm run generate:client". Not edited by hand.
 */

export interface paths {
  '/v1/reservations': {
    /** Hold stock */
    post: {
      parameters: {
        query?: never
        header?: {
          /** 1–255 printable ASCII. The same key and body get the first answer again. */
          'Idempotency-Key'?: string
        }
        path?: never
        cookie?: never
      }
      requestBody: {
        content: {
          'application/json': components['schemas']['ReserveRequest']
        }
      }
      responses: {
        201: {
          headers: {
            'X-Request-Id'?: string
            'Location'?: string
            'Idempotent-Replayed'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Reservation']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        409: Failure
        413: Failure
        415: Failure
        422: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
    /** Find reservations */
    get: {
      parameters: {
        query?: {
          /** As of the moment of reading: a pending one reads `expired` from `expires_at` on. */
          status?: 'pending' | 'confirmed' | 'released' | 'expired'
          /** Names what is counted. Case-sensitive; percent-encoded in a path. */
          sku?: string
          /** Who holds, in your words. */
          customer_id?: string
          /** Your own name for it, such as an order number. */
          reference?: string
          /** ISO 8601, UTC, with milliseconds. */
          expires_before?: string
          idempotency_key?: string
          /** Default 50. */
          limit?: number
          /** The `next_cursor` of the page before; opaque. */
          cursor?: string
        }
        header?: never
        path?: never
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['ReservationPage']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/reservations/{id}/confirm': {
    /** Confirm: the payment succeeded */
    post: {
      parameters: {
        query?: never
        header?: never
        path: {
          id: string
        }
        cookie?: never
      }
      requestBody?: {
        content: {
          'application/json': components['schemas']['ConfirmRequest']
        }
      }
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Reservation']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        409: Failure
        410: Failure
        413: Failure
        415: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/reservations/{id}/release': {
    /** Release: the payment failed, or the customer left */
    post: {
      parameters: {
        query?: never
        header?: never
        path: {
          id: string
        }
        cookie?: never
      }
      requestBody?: {
        content: {
          'application/json': components['schemas']['ReleaseRequest']
        }
      }
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Reservation']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        409: Failure
        413: Failure
        415: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/reservations/{id}/extend': {
    /** Extend: the customer needs longer */
    post: {
      parameters: {
        query?: never
        header?: never
        path: {
          id: string
        }
        cookie?: never
      }
      requestBody: {
        content: {
          'application/json': components['schemas']['ExtendRequest']
        }
      }
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Reservation']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        409: Failure
        410: Failure
        413: Failure
        415: Failure
        422: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/reservations/{id}': {
    /** Read one reservation */
    get: {
      parameters: {
        query?: never
        header?: never
        path: {
          id: string
        }
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Reservation']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/reservations/batch': {
    /** Hold stock for many, each on its own */
    post: {
      parameters: {
        query?: never
        header?: never
        path?: never
        cookie?: never
      }
      requestBody: {
        content: {
          'application/json': components['schemas']['ReserveBatchRequest']
        }
      }
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['BulkResults']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        413: Failure
        415: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/reservations/confirm': {
    /** Confirm many, each on its own */
    post: {
      parameters: {
        query?: never
        header?: never
        path?: never
        cookie?: never
      }
      requestBody: {
        content: {
          'application/json': components['schemas']['BulkConfirmRequest']
        }
      }
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['BulkResults']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        413: Failure
        415: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/reservations/release': {
    /** Release many, each on its own */
    post: {
      parameters: {
        query?: never
        header?: never
        path?: never
        cookie?: never
      }
      requestBody: {
        content: {
          'application/json': components['schemas']['BulkReleaseRequest']
        }
      }
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['BulkResults']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        413: Failure
        415: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/stock/{sku}': {
    /** Read one SKU */
    get: {
      parameters: {
        query?: never
        header?: {
          /** The ETag of your copy; 304 if it is still current. */
          'If-None-Match'?: string
        }
        path: {
          /** Names what is counted. Case-sensitive; percent-encoded in a path. */
          sku: string
        }
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            'ETag'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Level']
          }
        }
        304: {
          headers: {
            'X-Request-Id'?: string
            'ETag'?: string
            [name: string]: unknown
          }
          content?: never
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
    /** Create a SKU, or set its count */
    put: {
      parameters: {
        query?: never
        header?: {
          /** The ETag that the SKU must still have, or `*`: it must exist. */
          'If-Match'?: string
        }
        path: {
          /** Names what is counted. Case-sensitive; percent-encoded in a path. */
          sku: string
        }
        cookie?: never
      }
      requestBody: {
        content: {
          'application/json': components['schemas']['SetStock']
        }
      }
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            'ETag'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Level']
          }
        }
        201: {
          headers: {
            'X-Request-Id'?: string
            'ETag'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Level']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        409: Failure
        412: Failure
        413: Failure
        415: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/stock': {
    /** Read many SKUs */
    get: {
      parameters: {
        query?: {
          /** Repeat it to read many; unknown SKUs are left out. */
          sku?: string[]
          /** true: only SKUs with units available; false: all of them, the default. */
          available?: boolean
          /** Default 50. */
          limit?: number
          /** The `next_cursor` of the page before; opaque. */
          cursor?: string
        }
        header?: never
        path?: never
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['LevelPage']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
    /** Create or set up to a thousand SKUs */
    put: {
      parameters: {
        query?: never
        header?: never
        path?: never
        cookie?: never
      }
      requestBody: {
        content: {
          'application/json': components['schemas']['SetStockItems']
        }
      }
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['LevelItems']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        409: Failure
        413: Failure
        415: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/stock/adjustments': {
    /** Add to and take from stock */
    post: {
      parameters: {
        query?: never
        header?: {
          /** 1–255 printable ASCII. The same key and body get the first answer again. */
          'Idempotency-Key'?: string
        }
        path?: never
        cookie?: never
      }
      requestBody: {
        content: {
          'application/json': components['schemas']['AdjustStock']
        }
      }
      responses: {
        201: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['LevelItems']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        409: Failure
        413: Failure
        415: Failure
        422: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/stock/{sku}/ledger': {
    /** Read the history of a SKU */
    get: {
      parameters: {
        query?: {
          /** Default 50. */
          limit?: number
          /** The `next_cursor` of the page before; opaque. */
          cursor?: string
        }
        header?: never
        path: {
          /** Names what is counted. Case-sensitive; percent-encoded in a path. */
          sku: string
        }
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['LedgerPage']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/products/popular': {
    /** Read what sold best */
    get: {
      parameters: {
        query?: {
          /** The first day, of `SHOP_TIME_ZONE`; default the sixth day before `to`. */
          from?: string
          /** The last day; default today. */
          to?: string
          /** Default 5. */
          limit?: number
        }
        header?: never
        path?: never
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Popular']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/products': {
    /** Make a product, and the stock of its SKUs */
    post: {
      parameters: {
        query?: never
        header?: {
          /** 1–255 printable ASCII. The same key and body get the first answer again. */
          'Idempotency-Key'?: string
        }
        path?: never
        cookie?: never
      }
      requestBody: {
        content: {
          'application/json': components['schemas']['CreateProduct']
        }
      }
      responses: {
        201: {
          headers: {
            'X-Request-Id'?: string
            'Location'?: string
            'Idempotent-Replayed'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Product']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        409: Failure
        413: Failure
        415: Failure
        422: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
    /** List products with what is available */
    get: {
      parameters: {
        query?: {
          /** Only active products are sold. */
          status?: 'draft' | 'active' | 'archived'
          /** Default 50. */
          limit?: number
          /** The `next_cursor` of the page before; opaque. */
          cursor?: string
        }
        header?: never
        path?: never
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['ProductPage']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/products/{id}': {
    /** Read one product with what is available */
    get: {
      parameters: {
        query?: never
        header?: never
        path: {
          id: string
        }
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Product']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
    /** Change a product, its prices, or add SKUs */
    patch: {
      parameters: {
        query?: never
        header?: never
        path: {
          id: string
        }
        cookie?: never
      }
      requestBody: {
        content: {
          'application/json': components['schemas']['ChangeProduct']
        }
      }
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Product']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        409: Failure
        413: Failure
        415: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/customers': {
    /** Make a customer */
    post: {
      parameters: {
        query?: never
        header?: {
          /** 1–255 printable ASCII. The same key and body get the first answer again. */
          'Idempotency-Key'?: string
        }
        path?: never
        cookie?: never
      }
      requestBody: {
        content: {
          'application/json': components['schemas']['CreateCustomer']
        }
      }
      responses: {
        201: {
          headers: {
            'X-Request-Id'?: string
            'Location'?: string
            'Idempotent-Replayed'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Customer']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        409: Failure
        413: Failure
        415: Failure
        422: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/customers/{id}': {
    /** Read a customer and the balance */
    get: {
      parameters: {
        query?: never
        header?: never
        path: {
          /** A UUIDv7. */
          id: string
        }
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Customer']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/customers/{id}/charges': {
    /** Add money to a balance */
    post: {
      parameters: {
        query?: never
        header: {
          /** 1–255 printable ASCII. The same key and body get the first answer again. */
          'Idempotency-Key': string
        }
        path: {
          /** A UUIDv7. */
          id: string
        }
        cookie?: never
      }
      requestBody: {
        content: {
          'application/json': components['schemas']['ChargeBalance']
        }
      }
      responses: {
        201: {
          headers: {
            'X-Request-Id'?: string
            'Idempotent-Replayed'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['AccountEntry']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        409: Failure
        413: Failure
        415: Failure
        422: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/customers/{id}/ledger': {
    /** Read the history of a balance */
    get: {
      parameters: {
        query?: {
          /** Default 50. */
          limit?: number
          /** The `next_cursor` of the page before; opaque. */
          cursor?: string
        }
        header?: never
        path: {
          /** A UUIDv7. */
          id: string
        }
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['AccountPage']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/customers/{id}/cart': {
    /** Add units to a cart */
    post: {
      parameters: {
        query?: never
        header?: {
          /** 1–255 printable ASCII. The same key and body get the first answer again. */
          'Idempotency-Key'?: string
        }
        path: {
          /** A UUIDv7. */
          id: string
        }
        cookie?: never
      }
      requestBody: {
        content: {
          'application/json': components['schemas']['AddToCart']
        }
      }
      responses: {
        201: {
          headers: {
            'X-Request-Id'?: string
            'Idempotent-Replayed'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Cart']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        409: Failure
        413: Failure
        415: Failure
        422: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
    /** Read a cart */
    get: {
      parameters: {
        query?: never
        header?: never
        path: {
          /** A UUIDv7. */
          id: string
        }
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Cart']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/customers/{id}/cart/{sku}': {
    /** Set how many units of a SKU a cart has */
    put: {
      parameters: {
        query?: never
        header?: never
        path: {
          /** A UUIDv7. */
          id: string
          /** Names what is counted. Case-sensitive; percent-encoded in a path. */
          sku: string
        }
        cookie?: never
      }
      requestBody: {
        content: {
          'application/json': components['schemas']['SetInCart']
        }
      }
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Cart']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        409: Failure
        413: Failure
        415: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
    /** Take a SKU out of a cart */
    delete: {
      parameters: {
        query?: never
        header?: never
        path: {
          /** A UUIDv7. */
          id: string
          /** Names what is counted. Case-sensitive; percent-encoded in a path. */
          sku: string
        }
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Cart']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/coupons': {
    /** Make a coupon */
    post: {
      parameters: {
        query?: never
        header?: {
          /** 1–255 printable ASCII. The same key and body get the first answer again. */
          'Idempotency-Key'?: string
        }
        path?: never
        cookie?: never
      }
      requestBody: {
        content: {
          'application/json': components['schemas']['CreateCoupon']
        }
      }
      responses: {
        201: {
          headers: {
            'X-Request-Id'?: string
            'Location'?: string
            'Idempotent-Replayed'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Coupon']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        409: Failure
        413: Failure
        415: Failure
        422: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/coupons/{code}': {
    /** Read a coupon and how many are left */
    get: {
      parameters: {
        query?: never
        header?: never
        path: {
          /** What a customer types. Case-sensitive; percent-encoded in a path. */
          code: string
        }
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Coupon']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/coupons/{code}/issues': {
    /** Give a coupon to a customer */
    post: {
      parameters: {
        query?: never
        header?: {
          /** 1–255 printable ASCII. The same key and body get the first answer again. */
          'Idempotency-Key'?: string
        }
        path: {
          /** What a customer types. Case-sensitive; percent-encoded in a path. */
          code: string
        }
        cookie?: never
      }
      requestBody: {
        content: {
          'application/json': components['schemas']['IssueCoupon']
        }
      }
      responses: {
        201: {
          headers: {
            'X-Request-Id'?: string
            'Idempotent-Replayed'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['CouponIssue']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        409: Failure
        413: Failure
        415: Failure
        422: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/customers/{id}/coupons': {
    /** List a customer's coupons */
    get: {
      parameters: {
        query?: {
          /** Default 50. */
          limit?: number
          /** The `next_cursor` of the page before; opaque. */
          cursor?: string
        }
        header?: never
        path: {
          /** A UUIDv7. */
          id: string
        }
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['IssuedCouponPage']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/orders': {
    /** Order: hold the stock and settle the prices */
    post: {
      parameters: {
        query?: never
        header?: {
          /** 1–255 printable ASCII. The same key and body get the first answer again. */
          'Idempotency-Key'?: string
        }
        path?: never
        cookie?: never
      }
      requestBody: {
        content: {
          'application/json': components['schemas']['CreateOrder']
        }
      }
      responses: {
        201: {
          headers: {
            'X-Request-Id'?: string
            'Location'?: string
            'Idempotent-Replayed'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Order']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        409: Failure
        413: Failure
        415: Failure
        422: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
    /** Find orders */
    get: {
      parameters: {
        query?: {
          /** A UUIDv7. */
          customer_id?: string
          /** As of the moment of reading: an order that awaits payment reads `expired` from `expires_at` on. `refund_required`: money came in that must be given back. */
          status?: 'awaiting_payment' | 'paid' | 'payment_failed' | 'cancelled' | 'expired' | 'refund_required' | 'refunded' | 'partially_refunded'
          /** Default 50. */
          limit?: number
          /** The `next_cursor` of the page before; opaque. */
          cursor?: string
        }
        header?: never
        path?: never
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['OrderPage']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/orders/{id}': {
    /** Read one order */
    get: {
      parameters: {
        query?: never
        header?: never
        path: {
          id: string
        }
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Order']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/orders/{id}/cancel': {
    /** Cancel an order that awaits payment */
    post: {
      parameters: {
        query?: never
        header?: never
        path: {
          id: string
        }
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Order']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        409: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/orders/{id}/payments': {
    /** Pay an order */
    post: {
      parameters: {
        query?: never
        header: {
          /** 1–255 printable ASCII. The same key and body get the first answer again. */
          'Idempotency-Key': string
        }
        path: {
          id: string
        }
        cookie?: never
      }
      requestBody: {
        content: {
          'application/json': components['schemas']['PayOrder']
        }
      }
      responses: {
        201: {
          headers: {
            'X-Request-Id'?: string
            'Idempotent-Replayed'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Payment']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        409: Failure
        413: Failure
        415: Failure
        422: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/orders/{id}/refunds': {
    /** Give money back */
    post: {
      parameters: {
        query?: never
        header?: {
          /** 1–255 printable ASCII. The same key and body get the first answer again. */
          'Idempotency-Key'?: string
        }
        path: {
          id: string
        }
        cookie?: never
      }
      requestBody: {
        content: {
          'application/json': components['schemas']['RefundOrder']
        }
      }
      responses: {
        201: {
          headers: {
            'X-Request-Id'?: string
            'Idempotent-Replayed'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Refund']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        409: Failure
        413: Failure
        415: Failure
        422: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/payments/{id}': {
    /** Read one payment */
    get: {
      parameters: {
        query?: never
        header?: never
        path: {
          id: string
        }
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Payment']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        404: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/payments/webhooks/{gateway}': {
    /** For gateways: tell what became of a payment */
    post: {
      parameters: {
        query?: never
        header?: never
        path: {
          gateway: string
        }
        cookie?: never
      }
      requestBody: {
        content: {
          'application/json': { [key: string]: unknown }
        }
      }
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['WebhookAnswer']
          }
        }
        400: Failure
        401: Failure
        404: Failure
        409: Failure
        413: Failure
        415: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/events': {
    /** Read what happened */
    get: {
      parameters: {
        query?: {
          /** Events behind this position; default 0, the beginning. */
          after?: number
          /** Default 50. */
          limit?: number
        }
        header?: never
        path?: never
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['EventPage']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/v1/stats': {
    /** Read how the service is doing */
    get: {
      parameters: {
        query?: never
        header?: never
        path?: never
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Stats']
          }
        }
        400: Failure
        401: Failure
        403: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/healthz': {
    /** Whether the process lives */
    get: {
      parameters: {
        query?: never
        header?: never
        path?: never
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': {
              status: 'ok'
            }
          }
        }
        400: Failure
        500: Failure
      }
    }
  }
  '/readyz': {
    /** Whether to send traffic here */
    get: {
      parameters: {
        query?: never
        header?: never
        path?: never
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'application/json': components['schemas']['Readiness']
          }
        }
        400: Failure
        500: Failure
        503: Failure
      }
    }
  }
  '/metrics': {
    /** Metrics for Prometheus */
    get: {
      parameters: {
        query?: never
        header?: never
        path?: never
        cookie?: never
      }
      requestBody?: never
      responses: {
        200: {
          headers: {
            'X-Request-Id'?: string
            [name: string]: unknown
          }
          content: {
            'text/plain': string
          }
        }
        400: Failure
        401: Failure
        403: Failure
        429: Failure
        500: Failure
        503: Failure
      }
    }
  }
}

export interface components {
  schemas: {
    AccountEntry: {
      /** A UUIDv7. */
      customer_id: string
      /** Starts at 1 and has no gaps. */
      seq: number
      kind: 'charge' | 'payment' | 'refund'
      /** In the minor unit of the currency; below zero for a payment, so that all amounts add up to the balance. */
      amount: number
      /** In the minor unit of the currency. */
      balance_after: number
      charge_id: string | null
      payment_id: string | null
      refund_id: string | null
      /** ISO 8601, UTC, with milliseconds. */
      created_at: string
    }
    AccountPage: {
      data: components['schemas']['AccountEntry'][]
      next_cursor: string | null
    }
    AddToCart: {
      /** Names what is counted. Case-sensitive; percent-encoded in a path. */
      sku: string
      quantity: number
    }
    AdjustStock: {
      /** Applied in order; a SKU may appear more than once. */
      items: {
        /** Names what is counted. Case-sensitive; percent-encoded in a path. */
        sku: string
        /** Units, up or down. */
        delta: number
        reason?: string
      }[]
      /** Your own name for it, such as an order number. */
      reference?: string
    }
    BulkConfirmRequest: {
      ids: string[]
      /** `refuse` (the default) answers 410 for an expired one; `reacquire` reserves and confirms if stock remains. */
      on_expired?: 'refuse' | 'reacquire'
    }
    BulkReleaseRequest: {
      ids: string[]
      reason?: string
    }
    BulkResults: {
      results: ({
        status: number
        reservation: components['schemas']['Reservation']
      } | {
        status: number
        error: components['schemas']['Problem']
      })[]
    }
    Cart: {
      /** A UUIDv7. */
      customer_id: string
      /** At most 100, in the order in which they were first added. */
      lines: components['schemas']['CartLine'][]
      /** The totals of all lines that have a price. */
      subtotal: number
      /** Whether an order of the whole cart would have found prices and stock. */
      orderable: boolean
    }
    CartLine: {
      /** Names what is counted. Case-sensitive; percent-encoded in a path. */
      sku: string
      quantity: number
      product_id: string | null
      name: string | null
      /** Which one of the product it is; null for a product without options. */
      options: { [key: string]: string } | null
      /** As of now, in the minor unit of the currency; null for what is not on sale. */
      unit_price: number | null
      /** As of now, in the minor unit of the currency; null for what is not on sale. */
      total: number | null
      /** Units that could be reserved at the moment of reading. */
      available: number
      /** Why the line cannot be ordered as it is; null if it can. */
      problem: 'not_on_sale' | 'sold_out' | 'insufficient_stock' | null
    }
    ChangeProduct: {
      /** What a customer reads. */
      name?: string
      description?: string | null
      /** Where the picture is: an http(s) address, or a path on the shop. */
      image?: string | null
      /** Only active products are sold. */
      status?: 'draft' | 'active' | 'archived'
      /** A SKU of the product: its new `price`. A new one: `price`, `stock` and `options`. */
      skus?: components['schemas']['SkuChange'][]
    }
    ChargeBalance: {
      /** In the minor unit of the currency. */
      amount: number
    }
    ConfirmRequest: {
      /** `refuse` (the default) answers 410 for an expired one; `reacquire` reserves and confirms if stock remains. */
      on_expired?: 'refuse' | 'reacquire'
    }
    Coupon: {
      /** What a customer types. Case-sensitive; percent-encoded in a path. */
      code: string
      discount_percent: number | null
      discount_amount: number | null
      /** How many there are. */
      quantity: number
      /** How many customers have one. */
      issued: number
      /** quantity − issued */
      remaining: number
      /** ISO 8601, UTC, with milliseconds. */
      created_at: string
    }
    CouponIssue: {
      /** What a customer types. Case-sensitive; percent-encoded in a path. */
      code: string
      /** Its place in the order of arrival. */
      number: number
      /** A UUIDv7. */
      customer_id: string
      /** `used` by an order; `issued` again if that order does not get paid. */
      state: 'issued' | 'used'
      /** The order that uses it. */
      order_id: string | null
      /** ISO 8601, UTC, with milliseconds. */
      issued_at: string
    }
    /** Either `discount_percent` or `discount_amount`. */
    CreateCoupon: {
      /** What a customer types. Case-sensitive; percent-encoded in a path. */
      code: string
      /** Off the subtotal, rounded down to the minor unit of the currency. */
      discount_percent?: number
      /** Off the subtotal, in the minor unit of the currency; never more than the subtotal. */
      discount_amount?: number
      quantity: number
    }
    CreateCustomer: {
      name: string
    }
    CreateOrder: {
      /** A UUIDv7. */
      customer_id: string
      /** Absent: what the cart holds, which is emptied. Lines of one SKU are summed. */
      lines?: components['schemas']['Line'][]
      /** What a customer types. Case-sensitive; percent-encoded in a path. */
      coupon_code?: string
    }
    CreateProduct: {
      /** What a customer reads. */
      name: string
      description?: string
      /** Where the picture is: an http(s) address, or a path on the shop. */
      image?: string
      /** Only active products are sold. */
      status?: 'draft' | 'active' | 'archived'
      /** One SKU without options, or one for each combination, all with the same options. New ones only. */
      skus: components['schemas']['NewSku'][]
    }
    Customer: {
      /** A UUIDv7. */
      id: string
      name: string
      /** In the minor unit of the currency. */
      balance: number
      /** ISO 8601, UTC, with milliseconds. */
      created_at: string
    }
    Event: {
      /** In commit-safe order: none is ever added before one that was read. */
      position: number
      /** Stable and unique; for telling repetitions apart. */
      id: string
      type: 'reservation.created' | 'reservation.confirmed' | 'reservation.released' | 'reservation.expired' | 'reservation.extended' | 'stock.sold_out' | 'stock.back' | 'order.created' | 'order.paid' | 'order.payment_failed' | 'order.cancelled' | 'order.expired' | 'order.refund_required' | 'order.refunded' | 'order.partially_refunded' | 'payment.failed'
      data: { [key: string]: unknown }
      created_at: string
    }
    EventPage: {
      data: components['schemas']['Event'][]
      /** The `after` of the next call; the same again while nothing is new. */
      next_after: number
    }
    ExtendRequest: {
      /** From now on; never past `created_at` + RESERVATION_TTL_MAX_SECONDS. */
      ttl_seconds: number
    }
    IssueCoupon: {
      /** A UUIDv7. */
      customer_id: string
    }
    IssuedCoupon: {
      /** What a customer types. Case-sensitive; percent-encoded in a path. */
      code: string
      /** Its place in the order of arrival. */
      number: number
      /** A UUIDv7. */
      customer_id: string
      /** `used` by an order; `issued` again if that order does not get paid. */
      state: 'issued' | 'used'
      /** The order that uses it. */
      order_id: string | null
      /** ISO 8601, UTC, with milliseconds. */
      issued_at: string
      discount_percent: number | null
      discount_amount: number | null
    }
    IssuedCouponPage: {
      data: components['schemas']['IssuedCoupon'][]
      next_cursor: string | null
    }
    LedgerEntry: {
      /** Starts at 1 and has no gaps. */
      seq: number
      kind: 'set' | 'adjust' | 'reserve' | 'confirm' | 'release' | 'expire'
      stock_delta: number
      reserved_delta: number
      stock_after: number
      reserved_after: number
      /** The reservation's id where there is one, else what the adjustment was given. */
      reference: string | null
      reason: string | null
      /** ISO 8601, UTC, with milliseconds. */
      created_at: string
    }
    LedgerPage: {
      data: components['schemas']['LedgerEntry'][]
      next_cursor: string | null
    }
    Level: {
      /** Names what is counted. Case-sensitive; percent-encoded in a path. */
      sku: string
      /** Units on hand and not sold. */
      stock: number
      /** Units held by pending reservations. */
      temp_reserved_stock: number
      /** stock − temp_reserved_stock */
      available: number
      /** The number of the last change; the ETag. */
      seq: number
      /** ISO 8601, UTC, with milliseconds. */
      updated_at: string
    }
    LevelItems: {
      items: components['schemas']['Level'][]
    }
    LevelPage: {
      data: components['schemas']['Level'][]
      next_cursor: string | null
    }
    Line: {
      /** Names what is counted. Case-sensitive; percent-encoded in a path. */
      sku: string
      quantity: number
    }
    NewSku: {
      /** Names what is counted. Case-sensitive; percent-encoded in a path. */
      sku: string
      options?: components['schemas']['Options']
      /** In the minor unit of the currency. */
      price: number
      /** Units on hand. */
      stock: number
    }
    /** Which one of the product it is, such as `{ "size": "M", "color": "black" }`. */
    Options: { [key: string]: string }
    Order: {
      /** A UUIDv7. */
      id: string
      /** As of the moment of reading: an order that awaits payment reads `expired` from `expires_at` on. `refund_required`: money came in that must be given back. */
      status: 'awaiting_payment' | 'paid' | 'payment_failed' | 'cancelled' | 'expired' | 'refund_required' | 'refunded' | 'partially_refunded'
      /** A UUIDv7. */
      customer_id: string
      lines: components['schemas']['OrderLine'][]
      currency: string
      /** In the currency's minor unit. */
      subtotal: number
      /** In the currency's minor unit. */
      discount: number
      /** In the currency's minor unit. */
      total: number
      coupon_code: string | null
      /** The hold; another one if late money took a new one. */
      reservation_id: string
      /** The hold's end. */
      expires_at: string
      /** ISO 8601, UTC, with milliseconds. */
      created_at: string
      paid_at: string | null
      closed_at: string | null
      /** The oldest first. */
      payments: components['schemas']['OrderPayment'][]
      /** The oldest first. */
      refunds: components['schemas']['Refund'][]
    }
    OrderLine: {
      /** Names what is counted. Case-sensitive; percent-encoded in a path. */
      sku: string
      product_id: string
      /** As it was when the order was made, like options and price. */
      name: string
      options: { [key: string]: unknown } | null
      quantity: number
      /** In the currency's minor unit. */
      unit_price: number
      /** In the currency's minor unit. */
      total: number
      /** This line's part of the order's discount. */
      discount: number
      refunded_quantity: number
    }
    OrderPage: {
      data: components['schemas']['Order'][]
      next_cursor: string | null
    }
    OrderPayment: {
      id: string
      /** Null until it is chosen; `external`: the hold was confirmed by whoever has the money. */
      method: 'balance' | 'card' | 'external' | null
      status: 'paid' | 'pending' | 'failed'
      /** In the currency's minor unit. */
      amount: number
      /** In the currency's minor unit. */
      refunded_amount: number
      /** What came in and must be given back. */
      owed_amount: number
      owed_reason: string | null
      failure_code: string | null
      /** ISO 8601, UTC, with milliseconds. */
      created_at: string
    }
    PayOrder: {
      method: 'balance' | 'card'
      /** Where the gateway sends the buyer back to. */
      return_url?: string
    }
    Payment: {
      id: string
      order_id: string
      method: 'balance' | 'card' | 'external' | null
      /** `failed` by a declined card: the order still awaits payment until its hold ends; pay again. */
      status: 'paid' | 'pending' | 'failed'
      /** In the currency's minor unit. */
      amount: number
      currency: string
      /** In the currency's minor unit. */
      refunded_amount: number
      /** What came in and must be given back. */
      owed_amount: number
      failure_code: string | null
      /** What the browser does next: `{ type: "redirect", url }` goes there; `{ type: "stripe", client_secret, publishable_key }` is for Stripe's own script. */
      next_action: { [key: string]: unknown } | null
      /** ISO 8601, UTC, with milliseconds. */
      created_at: string
    }
    Popular: {
      /** The first day that was counted. */
      from: string
      /** The last one. */
      to: string
      /** Most units first. */
      data: components['schemas']['PopularProduct'][]
    }
    PopularProduct: {
      product_id: string
      name: string
      image: string | null
      /** Of all its SKUs, refunds taken off. */
      units_sold: number
      /** What was paid for them. */
      amount: number
      skus: ({
        /** Names what is counted. Case-sensitive; percent-encoded in a path. */
        sku: string
        options: { [key: string]: unknown } | null
        units_sold: number
        available: number
      })[]
    }
    Problem: {
      /** Where the code is documented. */
      type: string
      title: string
      status: number
      /** What to do next. */
      detail: string
      /** The stable word that a program switches on. */
      code: string
      request_id: string
      /** With `invalid_request`: what is wrong, at most 20. */
      errors?: {
        /** A JSON pointer into the body, or `query/…`, `path/…`, `header/…`. */
        path: string
        message: string
      }[]
      /** With `insufficient_stock`. */
      shortages?: {
        sku: string
        requested: number
        available: number
      }[]
      /** With `sku_not_found`, where the body names them. */
      skus?: string[]
      /** With every 503: whether anything may have been written. */
      outcome?: 'none' | 'unknown'
      [key: string]: unknown
    }
    Product: {
      /** A UUIDv7. */
      id: string
      name: string
      description: string | null
      image: string | null
      /** Only active products are sold. */
      status: 'draft' | 'active' | 'archived'
      /** One without options, or one for each combination of them. */
      skus: components['schemas']['ProductSku'][]
      /** ISO 8601, UTC, with milliseconds. */
      created_at: string
      /** ISO 8601, UTC, with milliseconds. */
      updated_at: string
    }
    ProductPage: {
      data: components['schemas']['Product'][]
      next_cursor: string | null
    }
    ProductSku: {
      /** Names what is counted. Case-sensitive; percent-encoded in a path. */
      sku: string
      /** Which one of the product it is; null for a product without options. */
      options: { [key: string]: string } | null
      /** In the minor unit of the currency. */
      price: number
      /** Units that can be reserved at the moment of reading. */
      available: number
    }
    Readiness: {
      status: 'ready'
      degraded: 'sweeper'[]
    }
    Refund: {
      id: string
      payment_id: string
      /** `pending`: the gateway has not answered yet. `failed`: it refused, and the money is owed. */
      status: 'pending' | 'succeeded' | 'failed'
      /** In the currency's minor unit. */
      amount: number
      /** The units that came back; none where money was owed. */
      lines: components['schemas']['Line'][]
      /** Whether the units went back on the shelf. */
      restock: boolean
      failure_code: string | null
      /** ISO 8601, UTC, with milliseconds. */
      created_at: string
    }
    RefundOrder: {
      /** Absent: all that has not come back yet; of an order that is `refund_required`, what is owed. */
      lines?: components['schemas']['Line'][]
      /** Whether the units go back on the shelf. */
      restock: boolean
    }
    ReleaseRequest: {
      reason?: string
    }
    Reservation: {
      /** A UUIDv7. */
      id: string
      /** As of the moment of reading: a pending one reads `expired` from `expires_at` on. */
      status: 'pending' | 'confirmed' | 'released' | 'expired'
      /** One for each SKU, in the order of first mention. */
      lines: components['schemas']['Line'][]
      customer_id: string | null
      reference: string | null
      metadata: { [key: string]: unknown } | null
      /** ISO 8601, UTC, with milliseconds. */
      created_at: string
      /** ISO 8601, UTC, with milliseconds. */
      expires_at: string
      closed_at: string | null
      release_reason: string | null
      /** How the race for the counters was decided. */
      strategy: string
      ttl_variant: string | null
    }
    ReservationPage: {
      data: components['schemas']['Reservation'][]
      next_cursor: string | null
    }
    ReserveBatchItem: {
      /** All or nothing. Lines of one SKU are summed; a sum is at most 1000000. */
      lines: components['schemas']['Line'][]
      /** Who holds, in your words. */
      customer_id?: string
      /** Your own name for it, such as an order number. */
      reference?: string
      /** How long the hold lasts. */
      ttl_seconds?: number
      /** Yours, at most 4096 bytes as JSON. */
      metadata?: { [key: string]: unknown }
      idempotency_key?: string
    }
    ReserveBatchRequest: {
      /** Each on its own, in order; at most 10000 lines in all. */
      reservations: components['schemas']['ReserveBatchItem'][]
    }
    ReserveRequest: {
      /** All or nothing. Lines of one SKU are summed; a sum is at most 1000000. */
      lines: components['schemas']['Line'][]
      /** Who holds, in your words. */
      customer_id?: string
      /** Your own name for it, such as an order number. */
      reference?: string
      /** How long the hold lasts. */
      ttl_seconds?: number
      /** Yours, at most 4096 bytes as JSON. */
      metadata?: { [key: string]: unknown }
    }
    SetInCart: {
      quantity: number
    }
    SetStock: {
      stock: number
    }
    SetStockItems: {
      /** Each SKU once. */
      items: {
        /** Names what is counted. Case-sensitive; percent-encoded in a path. */
        sku: string
        stock: number
      }[]
    }
    SkuChange: {
      /** Names what is counted. Case-sensitive; percent-encoded in a path. */
      sku: string
      options?: components['schemas']['Options']
      /** In the minor unit of the currency. */
      price?: number
      /** Units on hand. */
      stock?: number
    }
    Stats: {
      /** Reservations stored as pending; 100000 stands for that or more. */
      pending: number
      /** Of these, past their time and not swept yet. */
      overdue: number
      oldest_overdue_seconds: number
      /** Outcomes of the last sixty seconds, of the process that answers; others count their own. */
      last_minute: {
        verb: string
        /** `ok`, `replayed` or the code of the refusal. */
        code: string
        strategy: string
        count: number
      }[]
      sweeper: {
        /** Overdue reservations wait and no sweep succeeds. */
        stalled: boolean
        /** Reservations that failed to expire and wait for a retry. */
        set_aside: number
        /** The last run of each instance, the latest first. */
        runs: components['schemas']['SweeperRun'][]
      }
    }
    SweeperRun: {
      instance: string
      started_at: string
      finished_at: string | null
      succeeded_at: string | null
      expired: number
      set_aside: number
      error: string | null
      error_at: string | null
    }
    WebhookAnswer: {
      /** What it came to; `repeated` if it was handled before. */
      outcome: string
    }
  }
}

/** What every refusal is answered with. */
interface Failure {
  headers: { [name: string]: unknown }
  content: { 'application/problem+json': components['schemas']['Problem'] }
}

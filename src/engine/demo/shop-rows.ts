/** So many rows that a restore takes a moment, and not so many that anybody has to wait. */
const customers = 25_000
const products = 2_000
const orders = 100_000

/** One table's rows, made by the server itself. */
export interface Filling {
  table: string
  sql: string
}

/** The same rows each time on the same major version: `random()` begins where the seed says. */
export const seed = 'select setseed(0.42)'

/** In this order: later tables take from earlier ones. */
export const fillings: Filling[] = [
  {
    table: 'customers',
    sql: `
      insert into customers (name, email, city, country, registered_at)
      select first || ' ' || last, lower(first || '.' || last) || n || '@example.com', split_part(place, ',', 1),
             split_part(place, ',', 2), timestamptz '2023-01-01 00:00:00Z' + n * interval '20 minutes'
        from (select n,
                     ${oneOf('Ada Alan Barbara Carl Dorothy Edsger Frances Grace Hedy Ivan Jean Ken Linus Mary Niklaus')} as first,
                     ${oneOf('Lovelace Turing Liskov Gauss Vaughan Dijkstra Allen Hopper Lamarr Bartik Thompson Wirth')} as last,
                     ${oneOf('Berlin,DE Lisbon,PT Oslo,NO Paris,FR Prague,CZ Quito,EC Tokyo,JP Toronto,CA Turin,IT Utrecht,NL')} as place
                from generate_series(1, ${customers}) n) people
       order by n`,
  },
  {
    table: 'products',
    sql: `
      insert into products (sku, name, price, stock, attributes)
      select 'P-' || lpad(n::text, 5, '0'), adjective || ' ' || noun, round((2 + random() * 298)::numeric, 2),
             floor(random() * 500), jsonb_build_object('colour', colour, 'grams', 50 + n % 900, 'tags', jsonb_build_array(noun, colour))
        from (select n,
                     ${oneOf('Quiet Sturdy Bright Folding Little Classic Nordic Travel')} as adjective,
                     ${oneOf('Lamp Kettle Chair Notebook Backpack Teapot Clock Blanket')} as noun,
                     ${oneOf('red green blue black white yellow')} as colour
                from generate_series(1, ${products}) n) things
       order by n`,
  },
  {
    table: 'orders',
    sql: `
      insert into orders (customer_id, status, ordered_at)
      select 1 + floor(random() * ${customers}),
             ${oneOf('new paid shipped delivered delivered delivered delivered cancelled')}::order_status,
             timestamptz '2024-01-01 00:00:00Z' + n * interval '5 minutes'
        from generate_series(1, ${orders}) n
       order by n`,
  },
  {
    table: 'order_items',
    sql: `
      insert into order_items (order_id, line, product_id, quantity, unit_price)
      select i.order_id, i.line, p.id, i.quantity, p.price
        from (select n as order_id, line, 1 + floor(random() * ${products}) as product_id, 1 + floor(random() * 3) as quantity
                from generate_series(1, ${orders}) n, generate_series(1, 1 + n % 4) line) i
        join products p on p.id = i.product_id
       order by i.order_id, i.line`,
  },
  {
    table: 'payments',
    sql: `
      insert into payments (order_id, method, amount, paid_at)
      select o.id, ${oneOf('card card card transfer wallet')}, i.amount, o.ordered_at + interval '2 hours'
        from orders o join (select order_id, sum(line_total) as amount from order_items group by 1) i on i.order_id = o.id
       where o.status not in ('new', 'cancelled')
       order by o.id`,
  },
]

/** SQL that picks one of some words. */
function oneOf(words: string): string {
  const all = words.split(' ')
  return `(array[${all.map((word) => `'${word}'`).join(', ')}])[1 + floor(random() * ${all.length})]`
}

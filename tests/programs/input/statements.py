"""SQL of a small shop for sqlite3: statements.py SEED COUNT [SHAPE [ROWS]]

The same seed gives the same statements. SHAPE shifts the mix: orders (mostly inserts and look-ups), reports (joins,
groups, sorts and text), ledger (updates, deletes, tables that come and go), series (windows and recursion), desk (look-ups, text
and small changes) or mixed. ROWS orders are there before the first statement.
"""
import random
import sys

SHAPES = {
    #          insert update delete lookup join group text json series table
    "mixed":   (40, 12, 4, 18, 8, 6, 7, 5),
    "orders":  (55, 15, 6, 18, 2, 1, 2, 1),
    "reports": (22, 6, 2, 14, 20, 16, 12, 8),
    "ledger":  (34, 26, 18, 8, 1, 1, 1, 1, 1, 9),
    "desk":    (18, 20, 4, 34, 6, 2, 14, 2, 0, 3),
    "series":  (30, 4, 2, 6, 4, 4, 3, 7, 38, 2),
}
WORDS = ("amber birch cedar delta ember fjord grove harbor island juniper kernel lantern meadow north opal prairie "
         "quartz river summit timber umber valley willow yarrow zephyr").split()


def text(rng, low, high):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))


def statement(rng, kind, n):
    k = rng.randint(1, max(2, n))
    if kind == 0:
        return (f"insert into orders(customer, item, amount, note, doc) values({rng.randint(1, 400)}, '{text(rng, 1, 3)}', "
                f"{rng.randint(1, 99999) / 100}, '{text(rng, 0, 30)}', json_object('a', {n}, 'w', '{rng.choice(WORDS)}'));")
    if kind == 1:
        return f"update orders set amount = amount * 1.01, note = note || ' {rng.choice(WORDS)}' where id = {k};"
    if kind == 2:
        return f"delete from orders where id = {k} and amount < 300;"
    if kind == 3:
        return f"select id, item, round(amount, 2), length(note) from orders where customer = {rng.randint(1, 400)} limit 5;"
    if kind == 4:
        return ("select c.name, count(*), round(sum(o.amount), 2) from orders o join customers c on c.id = o.customer "
                f"where c.id between {k % 300} and {k % 300 + 40} group by c.id order by 3 desc, 1 limit 5;")
    if kind == 5:
        return f"select item, count(*) n, group_concat(id % 7) from orders group by item having n > {rng.randint(1, 4)} order by n desc, item limit 3;"
    if kind == 6:
        return f"select id, upper(substr(note, 1, 40)), replace(note, '{rng.choice(WORDS)}', '#') from orders where note like '%{rng.choice(WORDS)}%' order by id limit 4;"
    if kind == 8:
        if n % 3 == 0:
            return (f"with recursive r(x, s) as (select {k % 50}, 'a' union all select x + {rng.randint(1, 5)}, s || x from r where x < {k % 50 + 90}) "
                    "select count(*), max(length(s)), sum(x) from r;")
        return ("select id, round(avg(amount) over (partition by customer % 5 order by id rows 9 preceding), 2), rank() over (order by amount) "
                f"from orders where id between {k} and {k + 120} order by 3, 1 limit 4;")
    if kind == 9:
        return (f"create table part{n}(id integer primary key, note text, v real); insert into part{n} select id, note, amount from orders "
                f"where id between {k} and {k + rng.randint(20, 400)}; create index i{n} on part{n}(v); delete from part{n} where id % 3 = 0; "
                f"select count(*), round(sum(v), 2) from part{n}; drop table part{n};")
    return f"select json_extract(doc, '$.w'), json_group_array(id) from (select * from orders where id % 17 = {k % 17} limit 20) group by 1 order by 1;"


def main():
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    rows = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    weights = SHAPES[sys.argv[3] if len(sys.argv) > 3 else "mixed"]
    rng = random.Random(seed)
    out = sys.stdout
    out.write("pragma journal_mode=memory; pragma synchronous=off;\n"
              "create table customers(id integer primary key, name text);\n"
              "create table orders(id integer primary key, customer int, item text, amount real, note text, doc text);\n"
              "create index by_customer on orders(customer);\nbegin;\n")
    for i in range(1, 401):
        out.write(f"insert into customers values({i}, '{text(rng, 2, 3)}');\n")
    if rows > 0:
        out.write("with recursive r(i) as (select 1 union all select i + 1 from r where i < "
                  f"{rows}) insert into orders(customer, item, amount, note, doc) select i * 7919 % 400 + 1, 'item' || i % 977, "
                  f"(i * {seed * 2 + 31} % 99999) / 100.0, substr('{text(rng, 40, 40)}', i % 97, i * 31 % 150), "
                  "json_object('a', i, 'w', 'w' || i % 24) from r;\n")
    for n in range(1, count + 1):
        kind = rng.choices(range(len(weights)), weights)[0]
        out.write(statement(rng, kind, rows + n) + "\n")
        if n % 500 == 0:
            out.write("commit; begin;\n")
    out.write("commit;\nselect count(*), round(sum(amount), 2) from orders;\n")


main()

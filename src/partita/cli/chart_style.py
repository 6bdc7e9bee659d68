"""The style of curves: system fonts, hues that also differ in lightness, light and dark by the reader's choice.

Rules: a picture carries its own style, so that the file stands alone; the page repeats none of it.
"""

PICTURE = """
.chart{--ink:#1d232b;--dim:#5f6b7a;--card:#fff;--rule:#dfe3e8;--cut:#b3264c;--c0:#0f6e84;--c1:#d98324;--c2:#6a4fb0;
--c3:#3f8a3c;--c4:#a8407c;--c5:#7a6a2c;font-family:system-ui,-apple-system,"Segoe UI",sans-serif}
@media(prefers-color-scheme:dark){.chart{--ink:#e6e9ed;--dim:#9aa6b4;--card:#1b2027;--rule:#2f3742;--cut:#ff7d9d;
--c0:#4fb9d1;--c1:#f0a955;--c2:#b39df0;--c3:#86cf80;--c4:#ee92c6;--c5:#d2c276}}
.chart .paper{fill:var(--card)}
.chart text{fill:var(--dim);font-size:12px}
.chart .title{fill:var(--ink);font-size:15px;font-weight:600}
.chart .key{fill:var(--ink)}
.chart .end{text-anchor:end}.chart .middle{text-anchor:middle}
.chart .tick{font-variant-numeric:tabular-nums}
.chart .grid{stroke:var(--rule)}.chart .floor{stroke:var(--dim)}
.chart .mark{stroke:var(--cut);stroke-width:1.6;stroke-dasharray:5 4}
.chart .marked{fill:var(--cut);font-weight:600}
.chart .curve{fill:none;stroke-width:2;stroke-linejoin:round}
.chart .dot{stroke:var(--card);stroke-width:1}
.chart .curve.c0{stroke:var(--c0)}.chart .curve.c1{stroke:var(--c1)}.chart .curve.c2{stroke:var(--c2)}
.chart .curve.c3{stroke:var(--c3)}.chart .curve.c4{stroke:var(--c4)}.chart .curve.c5{stroke:var(--c5)}
.chart .dot.c0{fill:var(--c0)}.chart .dot.c1{fill:var(--c1)}.chart .dot.c2{fill:var(--c2)}
.chart .dot.c3{fill:var(--c3)}.chart .dot.c4{fill:var(--c4)}.chart .dot.c5{fill:var(--c5)}
"""

PAGE = """
:root{color-scheme:light dark;--ink:#1d232b;--dim:#5f6b7a;--paper:#fbfbfa;--card:#fff;--rule:#dfe3e8;--best:#0f6e8414}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ed;--dim:#9aa6b4;--paper:#14181d;--card:#1b2027;--rule:#2f3742;
--best:#4fb9d11c}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1480px;margin:0 auto;padding:32px 24px 56px}
h1{font-size:24px;margin:0 0 20px;letter-spacing:-.01em}
h2{font-size:16px;margin:24px 0 8px}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,520px),1fr));gap:16px}
figure{margin:0;background:var(--card);border:1px solid var(--rule);border-radius:8px;overflow:hidden}
svg{display:block;width:100%;height:auto}
.scroll{overflow-x:auto;border:1px solid var(--rule);border-radius:8px;background:var(--card)}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:7px 12px;text-align:left;white-space:nowrap;border-bottom:1px solid var(--rule)}
th{font-weight:600;color:var(--dim)}td.n,th.n{text-align:right}
tr:last-child td{border-bottom:0}
tr.best td{font-weight:600;background:var(--best)}
"""

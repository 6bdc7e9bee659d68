"""The style of a drawn plan: system fonts, two hues that also differ in lightness, light and dark by the reader's choice."""

STYLE = """
:root{color-scheme:light dark;--ink:#1d232b;--dim:#5f6b7a;--paper:#fbfbfa;--card:#fff;--rule:#dfe3e8;
--home:#0f6e84;--away:#d98324;--cut:#b3264c;--band:#0f6e8414;--band2:#d9832414}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ed;--dim:#9aa6b4;--paper:#14181d;--card:#1b2027;--rule:#2f3742;
--home:#4fb9d1;--away:#f0a955;--cut:#ff7d9d;--band:#4fb9d11c;--band2:#f0a9551c}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1180px;margin:0 auto;padding:32px 24px 56px}
h1{font-size:24px;margin:0 0 4px;letter-spacing:-.01em}
.plan{font:14px/1.5 ui-monospace,SFMono-Regular,Menlo,monospace;color:var(--dim);margin:0 0 20px;overflow-wrap:anywhere}
dl{display:flex;flex-wrap:wrap;gap:10px;margin:0 0 20px}
dl div{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:8px 14px}
dt{font-size:12px;color:var(--dim)}dd{margin:0;font-size:17px;font-variant-numeric:tabular-nums}
figure{margin:0 0 20px;background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:14px 10px 6px}
svg{display:block;width:100%;height:auto}
text{fill:var(--dim);font-size:12px}
.place{text-anchor:middle;font-size:13px;font-weight:600;fill:var(--ink)}
.key{fill:var(--ink)}.axis{font-size:12px}.stage{text-anchor:end;font-size:11px}
.band0{fill:var(--band)}.band1{fill:var(--band2)}
.bar0{fill:var(--home)}.bar1{fill:var(--away)}
.grid{stroke:var(--rule)}
.line{fill:none;stroke:var(--dim);stroke-width:1.4}
.dot{fill:var(--ink)}.blocked{fill:var(--card);stroke:var(--dim);stroke-width:1.4}
.cut{stroke:var(--cut);stroke-width:2;stroke-dasharray:5 4}
.cutname{fill:var(--cut);font-weight:600}
section{max-width:78ch}section p{margin:0 0 8px}
.scroll{overflow-x:auto;border:1px solid var(--rule);border-radius:8px;background:var(--card)}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:7px 12px;text-align:left;white-space:nowrap;border-bottom:1px solid var(--rule)}
th{font-weight:600;color:var(--dim)}td.n,th.n{text-align:right}
tr:last-child td{border-bottom:0}
tr.best td{font-weight:600;background:var(--band)}
section{margin-bottom:20px}
"""

/** The page's whole style: no fonts or files from elsewhere. Colours of text keep a contrast of 4.5 on their ground. */
export const pageStyle = `
:root{color-scheme:light dark;--ground:#f4f5f7;--card:#fff;--text:#1b2430;--soft:#586374;--edge:#dfe3e8;--well:#f7f8fa;
--accent:#2f6feb;--area:#2f6feb1f;--good:#157347;--good-ground:#e3f4ea;--good-fill:#2a9d63;--bad:#b42318;--bad-ground:#fdeae8;--bad-fill:#d6382b;
--caution:#8a5300;--caution-ground:#fdf1d9;--caution-edge:#d99a1c;--taken:#9cc0f5;--none:#e9ecf0}
@media (prefers-color-scheme:dark){:root{--ground:#0f141b;--card:#171e27;--text:#e8edf3;--soft:#9ba8b8;--edge:#2a3441;--well:#1c2530;
--accent:#6ea8fe;--area:#6ea8fe26;--good:#5fd39a;--good-ground:#12301f;--good-fill:#2f9e68;--bad:#ff9086;--bad-ground:#3a1a18;--bad-fill:#e0564a;
--caution:#f0bd5b;--caution-ground:#36290f;--caution-edge:#b9822a;--taken:#35609f;--none:#242e3a}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;overflow-wrap:anywhere}
main{max-width:1120px;margin:0 auto;padding:28px 20px 40px;display:grid;gap:20px;grid-template-columns:minmax(0,1fr)}
h1,h2,h3,p,ul,ol,dl,dd,table{margin:0;padding:0}
ul,ol{list-style:none}
h1{font-size:26px;line-height:1.2;letter-spacing:-.01em}
h2{font-size:18px;line-height:1.3}
h3{font-size:13px;font-weight:600;color:var(--soft);margin-bottom:10px}
code{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.soft{color:var(--soft)}
.card{background:var(--card);border:1px solid var(--edge);border-radius:14px;padding:22px}
.verdict{display:flex;gap:16px;align-items:center;border-radius:14px;padding:22px;border:1px solid}
.verdict.good{background:var(--good-ground);border-color:var(--good-fill);color:var(--good)}
.verdict.bad{background:var(--bad-ground);border-color:var(--bad-fill);color:var(--bad)}
.verdict.caution{background:var(--caution-ground);border-color:var(--caution-edge);color:var(--caution)}
.verdict svg{flex:none;width:44px;height:44px;fill:none;stroke:currentColor;stroke-width:2.4;stroke-linecap:round;stroke-linejoin:round}
.verdict p{color:var(--text)}
.figures{display:grid;gap:12px;grid-template-columns:repeat(auto-fit,minmax(150px,1fr))}
.figures div{background:var(--card);border:1px solid var(--edge);border-radius:14px;padding:14px 16px}
.card .figures div{background:var(--well);border:0;border-radius:10px;padding:12px 14px}
.figures dt{font-size:13px;color:var(--soft)}
.figures dd{font-size:22px;font-weight:650;line-height:1.25;letter-spacing:-.01em;font-variant-numeric:tabular-nums}
.card .figures dd{font-size:18px}
.figures .note{display:block;font-size:13px;font-weight:400;color:var(--soft);letter-spacing:0}
.figures .late dd{color:var(--bad)}
.findings{display:grid;margin-top:10px}
.findings li{display:grid;grid-template-columns:84px minmax(0,1fr);gap:2px 12px;padding:14px 0;border-top:1px solid var(--edge)}
.findings li:first-child{border-top:0;padding-top:4px}.findings li:last-child{padding-bottom:0}
.badge{font-size:12px;font-weight:650;border-radius:99px;padding:2px 10px;justify-self:start;align-self:start;margin-top:1px;min-width:70px;text-align:center;white-space:nowrap}
.badge.error,.badge.failed{background:var(--bad-ground);color:var(--bad)}
.badge.warning{background:var(--caution-ground);color:var(--caution)}
.badge.info,.badge.none{background:var(--well);color:var(--soft)}
.badge.passed{background:var(--good-ground);color:var(--good)}
.findings .where{color:var(--soft);font-size:13px}
code{overflow-wrap:anywhere}
.findings .fix{background:var(--well);border-radius:8px;padding:7px 11px;margin-top:6px;font-size:14px}
.database{display:grid;gap:20px;grid-template-columns:minmax(0,1fr)}
.database header{display:flex;flex-wrap:wrap;gap:2px 14px;align-items:baseline}
.pair{display:grid;gap:24px;grid-template-columns:minmax(0,1.5fr) minmax(0,1fr)}
.chart{display:block;width:100%;height:auto;overflow:visible}
.grid{stroke:var(--edge)}
.label{fill:var(--soft);font-size:12px}
.line{fill:none;stroke:var(--accent);stroke-width:2;stroke-linejoin:round}
.area{fill:var(--area)}
.dot{stroke:var(--card);stroke-width:1.5}
.dot.taken{fill:var(--accent)}.dot.verified{fill:var(--good-fill)}
.dot.failed{stroke:var(--bad-fill);stroke-width:2.6;stroke-linecap:round;fill:none}
.months{display:grid;gap:16px 20px;grid-template-columns:repeat(6,minmax(0,1fr))}
.months svg{display:block;width:100%;height:auto;overflow:visible}
.months p{font-size:13px;font-weight:600;color:var(--soft);margin-bottom:4px}
.day.none{fill:var(--none)}.day.before{fill:none;stroke:var(--edge)}.day.taken{fill:var(--taken)}.day.verified{fill:var(--good-fill)}.day.failed{fill:var(--bad-fill)}
.sign{fill:none;stroke:#fff;stroke-width:1.8;stroke-linecap:round;stroke-linejoin:round}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:13px;color:var(--soft);margin-top:14px}
.legend li{display:flex;gap:7px;align-items:center}
.legend svg{width:14px;height:14px}
table{width:100%;border-collapse:collapse;font-size:14px}
th{text-align:left;font-size:13px;font-weight:600;color:var(--soft);padding:0 10px 6px 0}
td{padding:7px 10px 7px 0;border-top:1px solid var(--edge);vertical-align:top}
th:last-child,td:last-child{padding-right:0;text-align:right}
.badge{display:inline-block}
.note-below{color:var(--soft);font-size:13px;margin-top:8px}
.drills table{margin-top:14px}.keep{white-space:nowrap}
footer{color:var(--soft);font-size:13px}
@media (max-width:820px){.pair{grid-template-columns:minmax(0,1fr)}.months{grid-template-columns:repeat(4,minmax(0,1fr))}}
@media (max-width:520px){main{padding:16px 12px 28px;gap:14px}.card,.verdict{padding:16px}h1{font-size:22px}
.verdict{align-items:flex-start}.verdict svg{width:34px;height:34px}
.figures{grid-template-columns:repeat(2,minmax(0,1fr))}.figures div:last-child:nth-child(odd){grid-column:1/-1}.figures dd{font-size:19px}
.findings li{grid-template-columns:minmax(0,1fr);row-gap:6px}
.months{grid-template-columns:repeat(3,minmax(0,1fr))}.label{font-size:19px}}
@media print{body{background:#fff}.card{break-inside:avoid}}
`

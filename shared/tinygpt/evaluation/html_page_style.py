"""CSS of the HTML page."""

STYLE = """
:root {
  --page: #fbfbfa; --card: #ffffff; --ink: #1d2129; --faint: #667080; --line: #dfe3e8; --track: #eef0f3;
  --model: #3b6fd4; --system: #d98a1f; --good: #1f7a45; --bad: #b3342b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171c; --card: #1c2027; --ink: #e6e9ee; --faint: #97a1b0; --line: #323842; --track: #272c35;
    --model: #7aa5f5; --system: #e9ae55; --good: #6fcf97; --bad: #f08a80;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 26px; margin: 0; } h2 { font-size: 18px; margin: 0 0 8px; }
h3 { font-size: 15px; margin: 0 0 8px; } h4 { font-size: 12px; margin: 0 0 2px; color: var(--faint); }
header p { margin: 2px 0; overflow-wrap: anywhere; }
section, article { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 16px; }
section { margin-top: 16px; } article { margin-top: 12px; }
.faint { color: var(--faint); font-weight: normal; font-size: 13px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(125px, 1fr)); gap: 12px; }
.tiles b { display: block; font-size: 22px; } .tiles span { color: var(--faint); font-size: 13px; }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg .tick, svg .note { fill: var(--faint); font-size: 11px; }
.grid { stroke: var(--line); } .track { fill: var(--track); } .interval { stroke: var(--ink); stroke-opacity: .55; }
.series-0 .bar { fill: var(--model); } .series-1 .bar { fill: var(--system); }
.key { display: inline-block; width: 12px; height: 12px; border-radius: 2px; margin: 0 4px 0 10px; }
.key.series-0 { background: var(--model); margin-left: 0; } .key.series-1 { background: var(--system); }
.legend { margin: 0 0 8px; font-size: 13px; } .legend .faint { margin-left: 12px; }
details { margin-top: 12px; overflow-x: auto; } summary { cursor: pointer; color: var(--faint); }
table { border-collapse: collapse; width: 100%; font-size: 13px; margin-top: 8px; }
th, td { text-align: right; padding: 4px 8px; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } th:first-child { text-align: left; }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(240px, 1fr)); gap: 12px; }
.side > div { min-width: 0; }
pre { margin: 0; padding: 8px; background: var(--track); border-radius: 6px; overflow-x: auto; min-height: 2.4em;
  font: 13px/1.45 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
.passed, .failed { margin: 4px 0 0; font-size: 13px; overflow-wrap: anywhere; }
.passed { color: var(--good); } .failed { color: var(--bad); }
"""

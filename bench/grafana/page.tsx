// Draws window.panels, which bench/dashboard.py fills, with Grafana's own components.
import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';
import { createRoot } from 'react-dom/client';
import { lastValueFrom, of } from 'rxjs';
import {
  applyFieldOverrides, cacheFieldDisplayNames, createTheme, dateTime, EventBusSrv, getDisplayValueAlignmentFactors, getFieldDisplayValues, identityOverrideProcessor,
  Registry, standardTransformers, standardTransformersRegistry, ThemeContext, toDataFrame, transformDataFrame, VizOrientation,
} from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, PanelContextProvider, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';

const [CELL, GAP] = [30, 8];
const { panels, from, to, scheme } = (window as any).drawn;
const theme = createTheme({ colors: { mode: scheme } });
const timeRange = { from: dateTime(from), to: dateTime(to), raw: { from: dateTime(from), to: dateTime(to) } };

// What Grafana's server fills in where a dashboard is silent.
const FIELD = { thresholds: { mode: 'absolute', steps: [{ value: -Infinity, color: 'green' }, { value: 80, color: 'red' }] } };
const CUSTOM = {
  drawStyle: 'line', lineWidth: 1, fillOpacity: 0, pointSize: 5, showPoints: 'auto', gradientMode: 'none', spanNulls: false,
  lineInterpolation: 'linear', lineStyle: { fill: 'solid' }, axisPlacement: 'auto', axisGridShow: undefined, axisSoftMin: undefined,
  axisSoftMax: undefined, axisLabel: '', scaleDistribution: { type: 'linear' }, stacking: { mode: 'none', group: 'A' },
  thresholdsStyle: { mode: 'off' }, hideFrom: { legend: false, tooltip: false, viz: false }, cellOptions: { type: 'auto' }, width: undefined,
};
const COLOR: any = { timeseries: { mode: 'palette-classic' } };
const NAMES = ['unit', 'min', 'max', 'decimals', 'displayName', 'noValue', 'color', 'thresholds', 'mappings', 'links'];

const registry: any = new Registry(() => [
  ...NAMES.map((path) => ({ id: path, path, isCustom: false })),
  ...Object.keys(CUSTOM).map((path) => ({ id: `custom.${path}`, path, isCustom: true })),
].map((one) => ({ ...one, name: one.id, process: identityOverrideProcessor, shouldApply: () => true, settings: {} })) as any);
standardTransformersRegistry.setInit(() => [standardTransformers.organizeFieldsTransformer].map(
  (one) => ({ ...one, transformation: async () => one }) as any));

function configured(panel: any) {
  const { defaults = {}, overrides = [] } = panel.fieldConfig;
  const own = { color: COLOR[panel.type] ?? { mode: 'thresholds' }, ...FIELD, ...defaults };
  return { defaults: { ...own, custom: { ...CUSTOM, ...defaults.custom } }, overrides };
}

async function frames(panel: any) {
  const found = panel.frames.map(toDataFrame);
  const changed = await lastValueFrom(transformDataFrame(panel.transformations ?? [], found));
  return applyFieldOverrides({
    data: changed as any, fieldConfig: configured(panel), fieldConfigRegistry: registry, replaceVariables: (text) => text,
    theme, timeZone: 'utc',
  });
}

function Stat({ panel, data, width, height }: any) {
  const options = { graphMode: 'area', colorMode: 'value', justifyMode: 'auto', textMode: 'auto', wideLayout: true, orientation: 'auto', ...panel.options };
  const getValues = () => getFieldDisplayValues({
    fieldConfig: configured(panel) as any, reduceOptions: { values: false, calcs: ['lastNotNull'], ...options.reduceOptions },
    replaceVariables: (text) => text, theme, data, timeZone: 'utc', sparkline: options.graphMode !== 'none',
  });
  return <VizRepeater getValues={getValues} width={width} height={height} source={data} itemSpacing={3} renderCounter={0} autoGrid
    orientation={options.orientation as VizOrientation}
    getAlignmentFactors={(values: any) => getDisplayValueAlignmentFactors(values)}
    renderValue={({ value, alignmentFactors, width, height, count }: any) => <BigValue value={value.display} count={count}
      sparkline={value.sparkline} colorMode={options.colorMode} graphMode={options.graphMode} justifyMode={options.justifyMode}
      textMode={options.textMode} alignmentFactors={alignmentFactors} wideLayout={options.wideLayout} width={width} height={height}
      theme={theme} />} />;
}

function Lines({ panel, data, width, height }: any) {
  const legend = { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [], ...panel.options?.legend };
  return <TimeSeries frames={data} legend={legend} timeRange={timeRange as any} timeZone="utc" width={width} height={height} structureRev={1} />;
}

function Rows({ panel, data, width, height }: any) {
  cacheFieldDisplayNames(data);
  return <TableNG data={data[0]} width={width} height={height} sortBy={panel.options?.sortBy} noHeader={panel.options?.showHeader === false}
    fieldConfig={configured(panel) as any} enableVirtualization={false} />;
}

const KINDS: any = { stat: Stat, timeseries: Lines, table: Rows };

function Panel({ panel, data }: any) {
  const { x, y, w, h } = panel.gridPos;
  const column = (window.innerWidth - 2 * 16 + GAP) / 24;
  const [width, height] = [w * column - GAP, h * (CELL + GAP) - GAP];
  const Kind = KINDS[panel.type];
  return <div style={{ position: 'absolute', left: 16 + x * column, top: 16 + y * (CELL + GAP), width, height }}>
    <PanelChrome title={panel.title} description={panel.description} width={width} height={height} padding={panel.type === 'table' ? 'none' : 'md'}>
      {(width, height) => data.length ? <Kind {...{ panel, data, width, height }} /> : <div style={{ textAlign: 'center', paddingTop: height / 2 - 20 }}>No data</div>}
    </PanelChrome>
  </div>;
}

async function draw() {
  const data = await Promise.all(panels.map(frames));
  const bottom = Math.max(...panels.map(({ gridPos }: any) => gridPos.y + gridPos.h));
  document.body.style.cssText = `margin: 0; height: ${bottom * (CELL + GAP) + 24}px; background: ${theme.colors.background.canvas}`;
  const context: any = { eventBus: new EventBusSrv(), eventsScope: '', onToggleSeriesVisibility: () => {}, canAddAnnotations: () => false };
  createRoot(document.getElementById('root')!).render(<ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <PanelContextProvider value={context}>
      {panels.map((panel: any, index: number) => <Panel key={panel.id} panel={panel} data={data[index]} />)}
    </PanelContextProvider>
  </ThemeContext.Provider>);
}
draw().then(async () => {
  await new Promise((settled) => requestIdleCallback(settled));
  await document.fonts.ready;
  document.body.dataset.drawn = '';
});

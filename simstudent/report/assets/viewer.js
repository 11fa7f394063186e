'use strict';
// Texts become text nodes, never markup. What stands where in the packs: viewer.py.
const by=id=>document.getElementById(id),SIZE=50,MODES=['previous','student','none'];
const OUTCOMES={P:'passed',W:'wrong',E:'exception',T:'too slow',M:'too much memory','-':'not run'};
const STOPS={student_done:'the student has no further submission',solved:'solved by the simulation',step_limit:'step limit',give_up:'the simulation gave up',error:'engine or grader failed'};
const STATUS={syntax_error:['does not compile','bad'],runtime_error:['exception before any test','mid'],timeout:['too slow','mid'],memory:['too much memory','mid'],no_code:['no program','bad'],bad_diff:['diff does not fit','bad']};
let index,found=[],at=-1,page=0,step=1,packs=new Map(),shown=new Set(),drawn=0;

function make(tag,props={},...children){const e=document.createElement(tag);for(const[k,v]of Object.entries(props)){
if(k in e&&k!=='list')e[k]=v;else e.setAttribute(k,v)}e.append(...children.filter(c=>c!==null));return e}
async function decoded(id){const raw=atob(by(id).textContent);const bytes=Uint8Array.from(raw,c=>c.charCodeAt(0));
return JSON.parse(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'))).text())}
function pack(n){if(!packs.has(n)){if(packs.size>20)packs.delete(packs.keys().next().value);packs.set(n,decoded('p'+n))}return packs.get(n)}
const name=c=>index.students[c[0]],task=c=>index.assignments[c[1]];
// What people call the assignment: its statement where its id is only a hash.
const called=c=>/^[0-9a-f-]{16,}$/.test(task(c))&&index.tasks[c[1]][0]?index.tasks[c[1]][0].split('\n')[0]:task(c);

async function open(){
if(!('DecompressionStream'in window)){by('status').textContent='This browser is too old to open the trajectories: use one of 2023 or later.';return}
index=await decoded('index');index.of=index.cases.map(()=>[]);for(const r of index.rolls)index.of[r[0]].push(r);
fill('student',index.students);fill('assignment',index.assignments);
const models=index.methods.map((m,i)=>i).filter(i=>index.model[i]),room=innerWidth>1500?2:1;
(models.length?models:[0]).slice(-room).forEach(i=>shown.add(i));
index.methods.forEach((m,i)=>{const box=make('input',{type:'checkbox',value:i,checked:shown.has(i)});
box.addEventListener('change',()=>{box.checked?shown.add(i):shown.delete(i);filter(true)});by('shown').append(make('label',{},box,m))});
const most=Math.max(0,...index.rolls.map(r=>r[2]));for(let s=0;s<=most;s++)by('sample').append(make('option',{value:s},String(s+1)));
by('samples').hidden=!most;
if(!follow()){filter();if(found.length)choose(0)}
document.body.dataset.ready='1'}
function fill(id,names){by(id).append(...names.map((n,i)=>make('option',{value:i},n)))}

function score(c,column){const own=index.of[c].filter(r=>shown.has(r[1])&&r[column]>=0);return own.length?own.reduce((s,r)=>s+r[column],0)/own.length/1000:-1}
function filter(keep){const student=by('student').value,assignment=by('assignment').value,outcome=by('outcome').value,flag=by('flag').value;
const words=by('search').value.trim().toLowerCase(),current=keep?found[at]:undefined,order=by('order').value;
found=index.cases.map((c,i)=>i).filter(i=>{const c=index.cases[i];
return(student===''||c[0]==student)&&(assignment===''||c[1]==assignment)&&(outcome===''||c[4]==outcome)
&&(flag===''||index.of[i].some(r=>shown.has(r[1])&&r[5]>>flag&1))
&&(!words||(name(c)+' '+task(c)+' '+index.tasks[c[1]][0]).toLowerCase().includes(words))});
if(order!=='data'){const column=order==='grades'?4:3,sign=order==='near'?1:-1,of=new Map(found.map(i=>[i,score(i,column)]));
found.sort((a,b)=>((of.get(a)<0)-(of.get(b)<0))||sign*(of.get(a)-of.get(b))||a-b)}
const place=current===undefined?-1:found.indexOf(current);
at=place;if(place<0&&found.length&&keep)return choose(0);
page=Math.max(0,Math.floor(at/SIZE));list();if(keep&&at>=0)view()}
function list(){const rows=found.slice(page*SIZE,(page+1)*SIZE).map((i,n)=>{const c=index.cases[i],away=score(i,by('order').value==='grades'?4:3);
const b=make('button',{type:'button'},make('b',{title:task(c)},called(c)),make('span',{className:'away',title:'how far the programs shown are from the student\u2019s, 0 to 1'},away<0?'':away.toFixed(2)),
make('small',{},name(c)+', after submission '+c[2]+', '+c[3]+(c[3]===1?' step':' steps')+(c[4]?', solved':', not solved')));
if(page*SIZE+n===at)b.setAttribute('aria-current','true');b.addEventListener('click',()=>{choose(page*SIZE+n);narrow()});return make('li',{},b)});
by('list').replaceChildren(...rows);const pages=Math.max(1,Math.ceil(found.length/SIZE));
by('pages').textContent='page '+(page+1)+' of '+pages;by('back').disabled=!page;by('on').disabled=page+1>=pages;
by('count').textContent='('+found.length.toLocaleString('en')+' of '+index.cases.length.toLocaleString('en')+')';
by('status').textContent=found.length?index.rolls.length.toLocaleString('en')+' rollouts from '+index.cases.length.toLocaleString('en')+' starts':'No start fits these filters.';
if(!found.length)by('view').replaceChildren(make('p',{className:'none'},'No start fits these filters.'))}
function narrow(){if(innerWidth<=960){by('side').open=false;by('main').focus();by('main').scrollIntoView()}}
function choose(n,keepStep){if(!found.length)return;at=Math.max(0,Math.min(found.length-1,n));if(!keepStep)step=1;
if(Math.floor(at/SIZE)!==page||!by('list').children.length){page=Math.floor(at/SIZE)}list();
const row=by('list').querySelector('[aria-current]');if(row)reveal(row);
const top=by('main').offsetTop;if(!keepStep&&by('main').contains(document.elementFromPoint(innerWidth-20,10))&&scrollY>top)scrollTo(0,top);
return view()}
// The list scrolls, never the page.
function reveal(row){const box=innerWidth>960?document.querySelector('aside'):by('list'),r=row.getBoundingClientRect(),b=box.getBoundingClientRect();
if(r.top<b.top)box.scrollTop+=r.top-b.top;else if(r.bottom>Math.min(b.bottom,innerHeight))box.scrollTop+=r.bottom-Math.min(b.bottom,innerHeight)}

async function view(){const ticket=++drawn,i=found[at],c=index.cases[i],p=await pack(c[5]);if(ticket!==drawn)return;
const[real,rolls]=p.cases[c[6]],sample=+by('sample').value||0,text=n=>n<0?null:p.texts[n];
const own=rolls.filter(r=>shown.has(r[0])).sort((a,b)=>a[0]-b[0]).filter((r,n,all)=>{const same=all.filter(o=>o[0]===r[0]);return same.length===1||r[1]===sample});
const t=c[2],[statement,tests]=index.tasks[c[1]];
const head=[make('h2',{},name(c)+' \u00b7 '+task(c)),make('p',{className:'facts'},'After submission '+t+', '+c[3]+(c[3]===1?' step':' steps')+' to compare. The student '+(c[4]?'solved':'did not solve')+' it in the end.')];
if(statement)head.push(make('details',{className:'task',open:innerWidth>960},make('summary',{},'Assignment'),make('p',{},statement)));
const parts=[];if(real[t])parts.push(section(0,'Submission '+t+', where the simulations begin',[card('the student',real[t],null,tests,text,true)]));
for(let k=1;k<=c[3];k++){const truth=real[t+k],before=real[t+k-1];
const sides=[truth?card('the student',truth,before&&text(before[0]),tests,text,true):make('article',{className:'real'},make('h4',{},'the student'),make('p',{className:'none'},'Not in these rollouts: no simulation shown here came this far.'))];
for(const r of own)sides.push(side(r,k,real,t,tests,text));
parts.push(section(k,'Step '+k+': submission '+(t+k),sides))}
by('view').replaceChildren(...head,...parts);mark();
const hash=new URLSearchParams({student:name(c),assignment:task(c),start:t,show:[...shown].sort((a,b)=>a-b).map(m=>index.methods[m]).join(',')});
if(step>1)hash.set('step',step);history.replaceState(null,'','#'+hash);document.body.dataset.shown=i}
function section(k,title,cards){return make('section',{className:'step',id:'step'+k,tabIndex:-1,'aria-label':title},make('h3',{},title),make('div',{className:'sides'},...cards))}
function side(r,k,real,t,tests,text){const label=index.methods[r[0]]+(r[1]?', sample '+(r[1]+1):''),s=r[4][k-1];
if(!s)return make('article',{},make('h4',{},label),make('p',{className:'none'},k===r[4].length+1?'Ended: '+STOPS[r[2]]+(r[3]?': '+r[3]:'')+'.':'Ended before.'));
let last=real[t]?text(real[t][0]):null;for(const e of r[4].slice(0,k-1))if(e[0]>=0)last=text(e[0]);
const truth=real[t+k],mine=text(s[0]),tags=[];
if(s[3]==='constant')return make('article',{},head(label,s[1]),make('p',{className:'none'},'Asserts a grade, writes no program.'));
if(STATUS[s[3]])tags.push(STATUS[s[3]]);if(s[8])tags.push([s[8],'mid']);
if(mine!==null&&last!==null&&mine.trim()===last.trim())tags.push(['unchanged','mid']);
if(mine!==null&&truth&&mine.trim()===text(truth[0]).trim())tags.push(['the student\u2019s very program','good']);
if(s[6])tags.push(['cut off at the token limit','bad']);
const against=by('diff').value==='student'?truth&&text(truth[0]):last;
return card(label,[s[0],s[1],s[2],s[3],s[9]],against,tests,text,false,tags,s)}
function head(label,grade){return make('header',{},make('h4',{},label),make('span',{className:'grade'+(grade>=1?' full':'')},grade==null?'':'grade '+(+grade).toFixed(2)))}
function card(label,e,against,tests,text,real,tags=[],s){const parts=[head(label,e[1])];
if(real&&STATUS[e[3]])tags=[STATUS[e[3]]];
if(real&&against!=null&&text(e[0]).trim()===against.trim())tags=[...tags,['unchanged','mid']];
if(tags.length)parts.push(make('ul',{className:'tags'},...tags.map(([w,c])=>make('li',{className:c},w))));
if(e[2])parts.push(outcomes(e[2],tests));
if(s)for(const w of s[7])parts.push(make('p',{className:'said'},'Says first: '+text(w)));
const mode=by('diff').value;
if(e[0]>=0)parts.push(program(text(e[0]),mode==='none'||(mode==='student'&&real)?null:against,label));
else if(s)parts.push(make('p',{className:'none'},'No program'+(s[5]?': '+s[5]:'')+'.'),s[4]>=0?program(text(s[4]),null,label+', its answer'):null);
const told=text(e[4]);if(told)parts.push(make('details',{className:'told'},make('summary',{},'Feedback'),make('p',{},told)));
return make('article',{className:real?'real':''},...parts.filter(Boolean))}
function outcomes(letters,tests){const passed=[...letters].filter(l=>l==='P').length;
return make('div',{className:'tests',role:'img','aria-label':passed+' of '+letters.length+' tests passed: '+[...letters].map(l=>OUTCOMES[l]||l).join(', ')},
...[...letters].map((l,n)=>make('span',{className:l==='-'?'':l,title:(tests[n]?tests[n]+': ':'test '+(n+1)+': ')+(OUTCOMES[l]||l)},l)))}

function program(words,against,label){const lines=against==null?words.split('\n').map(w=>[' ',w]):difference(against.split('\n'),words.split('\n'));
if(lines.length>1&&lines.at(-1)[1]===''&&lines.at(-1)[0]===' ')lines.pop();
const box=make('pre',{tabIndex:0,role:'group','aria-label':'program of '+label});
lines.forEach(([m,w],n)=>{const line=make('span',{className:'line '+({'+':'add','-':'del'}[m]||''),'data-mark':m});
const other=m==='-'&&lines[n+1]?.[0]==='+'&&lines[n-1]?.[0]!=='-'&&lines[n+2]?.[0]!=='+'?lines[n+1][1]:m==='+'&&lines[n-1]?.[0]==='-'&&lines[n+1]?.[0]!=='+'&&lines[n-2]?.[0]!=='-'?lines[n-1][1]:null;
line.append(...(other===null?[w||'\u200b']:within(w,other)));box.append(line)});return box}
function within(w,o){let a=0,b=0;while(a<Math.min(w.length,o.length)&&w[a]===o[a])a++;
while(b<Math.min(w.length,o.length)-a&&w[w.length-1-b]===o[o.length-1-b])b++;
const middle=w.slice(a,w.length-b);return[w.slice(0,a),middle?make('mark',{},middle):'',w.slice(w.length-b)]}
// Lines by the longest common subsequence, without what both begin and end with.
function difference(a,b){let head=0,tail=0;while(head<Math.min(a.length,b.length)&&a[head]===b[head])head++;
while(tail<Math.min(a.length,b.length)-head&&a[a.length-1-tail]===b[b.length-1-tail])tail++;
const x=a.slice(head,a.length-tail),y=b.slice(head,b.length-tail),out=a.slice(0,head).map(w=>[' ',w]),rest=a.slice(a.length-tail).map(w=>[' ',w]);
if(x.length*y.length>4e6)return[...out,...x.map(w=>['-',w]),...y.map(w=>['+',w]),...rest];
const width=y.length+1,best=new Uint32Array((x.length+1)*width);
for(let i=x.length-1;i>=0;i--)for(let j=y.length-1;j>=0;j--)best[i*width+j]=x[i]===y[j]?best[(i+1)*width+j+1]+1:Math.max(best[(i+1)*width+j],best[i*width+j+1]);
let i=0,j=0;while(i<x.length||j<y.length){if(i<x.length&&j<y.length&&x[i]===y[j]){out.push([' ',x[i]]);i++;j++}
else if(j>=y.length||(i<x.length&&best[(i+1)*width+j]>=best[i*width+j+1]))out.push(['-',x[i++]]);else out.push(['+',y[j++]])}
return[...out,...rest]}

function mark(){document.querySelectorAll('.step').forEach(e=>e.classList.toggle('at',e.id==='step'+step))}
function go(by_){const last=index.cases[found[at]]?.[3]||1;step=Math.max(1,Math.min(last,step+by_));mark();const e=by('step'+step);if(e){e.scrollIntoView({block:'start'});e.focus({preventScroll:true})}}
function turn(n){page=n;list();by('list').querySelector('button')?.focus()}
function follow(){const h=new URLSearchParams(location.hash.slice(1));if(!h.has('student'))return false;
if(h.has('show')){const wanted=h.get('show').split(',');shown=new Set(index.methods.map((m,i)=>i).filter(i=>wanted.includes(index.methods[i])));
by('shown').querySelectorAll('input').forEach(b=>b.checked=shown.has(+b.value))}
filter();const n=found.findIndex(i=>{const c=index.cases[i];return name(c)===h.get('student')&&task(c)===h.get('assignment')&&c[2]==h.get('start')});
if(n<0)return false;step=+h.get('step')||1;Promise.resolve(choose(n,true)).then(()=>{if(step>1)go(0)});return true}
const anew=()=>{filter();choose(0)};
for(const id of['student','assignment','outcome','flag','order'])by(id).addEventListener('change',anew);
by('search').addEventListener('input',anew);by('diff').addEventListener('change',()=>view());by('sample').addEventListener('change',()=>view());
by('filters').addEventListener('submit',e=>e.preventDefault());
by('back').addEventListener('click',()=>turn(page-1));by('on').addEventListener('click',()=>turn(page+1));
by('next').addEventListener('click',()=>choose(at+1));by('previous').addEventListener('click',()=>choose(at-1));
by('help').addEventListener('click',()=>by('keys').showModal());addEventListener('hashchange',()=>index&&follow());
document.addEventListener('keydown',e=>{if(e.ctrlKey||e.metaKey||e.altKey||!index)return;const on=document.activeElement;
if(by('keys').open)return;
if(e.key==='Escape'){on.blur();return}
if(/^(SELECT|INPUT|TEXTAREA)$/.test(on.tagName)&&on.type!=='checkbox')return;
const inList=by('list').contains(on),down=e.key==='j'||(inList&&e.key==='ArrowDown'),up=e.key==='k'||(inList&&e.key==='ArrowUp');
if(down||up){e.preventDefault();choose(at+(down?1:-1));if(inList)by('list').querySelector('[aria-current]')?.focus()}
else if(on.tagName!=='PRE'&&(e.key==='ArrowRight'||e.key==='ArrowLeft')){e.preventDefault();go(e.key==='ArrowRight'?1:-1)}
else if(e.key==='d'){by('diff').value=MODES[(MODES.indexOf(by('diff').value)+1)%3];view()}
else if(e.key==='/'){e.preventDefault();by('side').open=true;by('search').focus()}
else if(e.key==='?')by('keys').showModal()});
open().catch(error=>{by('status').textContent='This page is damaged: '+error.message;throw error});

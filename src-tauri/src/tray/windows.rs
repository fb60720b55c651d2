//! The tray on Windows: a notification icon and its menu, on a thread of their own, because both need a message loop.

use std::sync::mpsc::{Receiver, channel};

use tao::event::{Event, StartCause};
use tao::event_loop::{ControlFlow, EventLoopBuilder, EventLoopProxy};
use tao::platform::run_return::EventLoopExtRunReturn as _;
use tao::platform::windows::EventLoopBuilderExtWindows as _;
use tokio::sync::mpsc::UnboundedSender;
use tray_icon::menu::{IsMenuItem, Menu, MenuEvent, MenuId, MenuItem, PredefinedMenuItem, Submenu};
use tray_icon::{Icon, MouseButton, MouseButtonState, TrayIcon, TrayIconBuilder, TrayIconEvent};

use super::menu::{self, Entry};
use super::{Action, Face, pictures};
use crate::view::Page;

enum Said {
    Show(Face),
    Chosen(MenuId),
    Clicked,
    Stop,
}

/// The icon, while it is there.
pub(crate) struct Tray(EventLoopProxy<Said>);

impl Tray {
    /// Puts the icon there. `Err`: there is no tray, as on a server.
    pub(crate) async fn start(actions: UnboundedSender<Action>) -> Result<Self, String> {
        let (ready, heard) = channel();
        std::thread::Builder::new()
            .name("tray".to_owned())
            .spawn(move || turn(&actions, &ready))
            .map_err(|error| error.to_string())?;
        let waiting = tokio::task::spawn_blocking(move || wait(&heard));
        waiting.await.map_err(|error| error.to_string())?.map(Self)
    }

    /// Shows this from now on.
    pub(crate) async fn show(&self, face: Face) {
        let _ = self.0.send_event(Said::Show(face));
    }

    /// Takes the icon away.
    pub(crate) async fn stop(self) {
        let _ = self.0.send_event(Said::Stop);
    }
}

type Ready = Result<EventLoopProxy<Said>, String>;

fn wait(heard: &Receiver<Ready>) -> Ready {
    heard.recv().unwrap_or_else(|_| Err("the tray's thread ended".to_owned()))
}

fn turn(actions: &UnboundedSender<Action>, ready: &std::sync::mpsc::Sender<Ready>) {
    let mut events = EventLoopBuilder::<Said>::with_user_event().with_any_thread(true).build();
    let proxy = events.create_proxy();
    let chosen = events.create_proxy();
    MenuEvent::set_event_handler(Some(move |event: MenuEvent| {
        let _ = chosen.send_event(Said::Chosen(event.id));
    }));
    let clicked = events.create_proxy();
    TrayIconEvent::set_event_handler(Some(move |event: TrayIconEvent| {
        if let TrayIconEvent::Click { button: MouseButton::Left, button_state: MouseButtonState::Up, .. } = event {
            let _ = clicked.send_event(Said::Clicked);
        }
    }));
    let mut shown: Option<Shown> = None;
    events.run_return(|event, _, flow| {
        *flow = ControlFlow::Wait;
        match event {
            Event::NewEvents(StartCause::Init) => match Shown::new() {
                Ok(new) => {
                    shown = Some(new);
                    let _ = ready.send(Ok(proxy.clone()));
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                    *flow = ControlFlow::Exit;
                }
            },
            Event::UserEvent(Said::Show(face)) => {
                if let Some(shown) = &mut shown {
                    shown.show(face);
                }
            }
            Event::UserEvent(Said::Chosen(id)) => {
                let action = shown.as_ref().and_then(|shown| shown.action(&id));
                let _ = action.map(|action| actions.send(action));
            }
            Event::UserEvent(Said::Clicked) => drop(actions.send(Action::Open(Page::Home))),
            Event::UserEvent(Said::Stop) => *flow = ControlFlow::Exit,
            _ => {}
        }
    });
}

struct Shown {
    icon: TrayIcon,
    face: Option<Face>,
    actions: Vec<(MenuId, Action)>,
}

impl Shown {
    fn new() -> Result<Self, String> {
        let icon = TrayIconBuilder::new().with_tooltip("Chrysalis").build().map_err(|error| error.to_string())?;
        let mut shown = Self { icon, face: None, actions: Vec::new() };
        shown.show(Face::blank());
        Ok(shown)
    }

    fn action(&self, id: &MenuId) -> Option<Action> {
        self.actions.iter().find(|(known, _)| known == id).map(|(_, action)| *action)
    }

    fn show(&mut self, face: Face) {
        if self.face.as_ref() == Some(&face) {
            return;
        }
        if self.face.as_ref().is_none_or(|old| old.glance != face.glance) {
            let picture = pictures(face.glance).into_iter().find(|picture| picture.edge == 32);
            let icon = picture.and_then(|it| Icon::from_rgba(it.rgba, it.edge, it.edge).ok());
            let _ = self.icon.set_icon(icon);
        }
        let _ = self.icon.set_tooltip(Some(&face.title));
        if let Ok(menu) = self.menu(&face) {
            self.icon.set_menu(Some(Box::new(menu)));
        }
        self.face = Some(face);
    }

    fn menu(&mut self, face: &Face) -> Result<Menu, tray_icon::menu::Error> {
        self.actions.clear();
        let shown = Menu::new();
        for entry in menu::menu(face) {
            shown.append(self.translated(entry)?.as_ref())?;
        }
        Ok(shown)
    }

    fn translated(&mut self, entry: Entry) -> Result<Box<dyn IsMenuItem>, tray_icon::menu::Error> {
        let spelled = |label: &str| menu::spelled(label, '&');
        let item: Box<dyn IsMenuItem> = match entry {
            Entry::Separator => Box::new(PredefinedMenuItem::separator()),
            Entry::Text(label) => Box::new(MenuItem::new(spelled(&label), false, None)),
            Entry::Choice { label, enabled, action } => {
                let item = MenuItem::new(spelled(&label), enabled, None);
                self.actions.push((item.id().clone(), action));
                Box::new(item)
            }
            Entry::Menu { label, enabled, entries } => {
                let inner = Submenu::new(spelled(&label), enabled);
                for entry in entries {
                    inner.append(self.translated(entry)?.as_ref())?;
                }
                Box::new(inner)
            }
        };
        Ok(item)
    }
}
